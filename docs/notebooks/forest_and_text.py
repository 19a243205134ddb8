# %% [markdown]
# # A forest of scikit-learn, and a classifier of texts
#
# `forest.onnx` is a random forest that skl2onnx exported. Trees have no gradient, so the model runs forwards alone.

# %%
import numpy as np

import onnxplain

rows = np.random.default_rng(0).random((20, 13), np.float32)
names = [f"feature {k}" for k in range(13)]
forest = onnxplain.Explainer("forest.onnx", gradients=False)
row = forest.explain_table(rows[:1], names, background=rows)[0]
print(row.title)
row.save("row.png")

# %% [markdown]
# What happens without `gradients=False`? It is refused, and the message says why.

# %%
try:
    onnxplain.Explainer("forest.onnx").saliency(rows)
except onnxplain.OnnxplainError as error:
    print(error)

# %% [markdown]
# `text.onnx` takes token ids. The gradient is taken at the embedding; occlusion replaces tokens by the baseline.

# %%
text = onnxplain.Explainer("text.onnx")
(found,) = text.explain_tokens([[1, 3, 2]], [["a", "good", "film"]], target=1, baseline=0)
for token, value in zip(found.names, found.attribution):
    print(token, round(float(value), 3))
found.save("text.png")

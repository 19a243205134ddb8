# %% [markdown]
# # A first map
#
# Which pixels of a photo would change the score of its class most? The bundled classifier and photo are enough to see.

# %%
import onnxplain
from onnxplain.bundled import bundled_photo

explainer = onnxplain.Explainer()
explanation = explainer.explain(bundled_photo())
print(explanation.title)

# %% [markdown]
# The map has the photo's own pixels. Zero is where the model did not look, one is the most sensitive pixel.

# %%
print(explanation.saliency.shape, explanation.saliency.min(), explanation.saliency.max())
explanation.save("first.png", kind="panel")

# %% [markdown]
# One gradient is noisy. SmoothGrad takes the mean over noisy copies of the photo: the same question, with less noise.

# %%
smooth = explainer.explain(bundled_photo(), method="smoothgrad", samples=8)
smooth.save("smooth.png")

# %% [markdown]
# Where does the model look for its three best classes?

# %%
onnxplain.grid([explainer.explain(bundled_photo(), "top3", "grad_cam")])

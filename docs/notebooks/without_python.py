# %% [markdown]
# # The file without Python
#
# The differentiated model is an ordinary ONNX file. Write it once, and run it wherever ONNX runs.

# %%
import onnxplain
from onnxplain.bundled import bundled_model, bundled_photo

onnxplain.differentiate_file(bundled_model(), "gradient.onnx", saliency=True)

# %% [markdown]
# ONNX Runtime alone runs it. This part needs no onnxplain; other languages have the same calls.

# %%
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("gradient.onnx", providers=["CPUExecutionProvider"])
print([one.name for one in session.get_inputs()], [one.name for one in session.get_outputs()])
x = np.zeros((1, 3, 224, 224), np.float32)
score, saliency = session.run(["score", "saliency_image"], {"image": x, "target": np.array([281])})
print(score, saliency.shape)

# %% [markdown]
# With the preprocessing inside, the file takes photos of any size and returns maps in their pixels.

# %%
from PIL import Image

recipe = onnxplain.find_preprocessing(bundled_model())
onnxplain.differentiate_file(bundled_model(), "photos.onnx", saliency=True, with_preprocessing=recipe)
photo = np.asarray(Image.open(bundled_photo()).convert("RGB"))[None]
session = onnxruntime.InferenceSession("photos.onnx", providers=["CPUExecutionProvider"])
(saliency,) = session.run(["saliency_photo"], {"photo": photo, "target": np.array([281])})
print(photo.shape, saliency.shape)

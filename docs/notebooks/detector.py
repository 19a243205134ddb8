# %% [markdown]
# # A detector
#
# `detector.onnx` is any export of YOLOv8; its layout is stated here, and Ultralytics writes it into its files.

# %%
import onnxplain
from onnxplain import Target

explainer = onnxplain.Explainer("detector.onnx", layout="yolov8")
found = explainer.detect("street.png")
for detection in found:
    print(detection.label, round(detection.score, 2), detection.box)

# %% [markdown]
# Each detection is a question: why is this here? The picture has its box.

# %%
for index, detection in enumerate(found):
    explainer.explain("street.png", detection).save(f"detection_{index}.png")

# %% [markdown]
# Other numbers of a box are questions, too: what makes it so wide?

# %%
width = explainer.explain("street.png", Target("box.width", at="best"))
print(width.score)

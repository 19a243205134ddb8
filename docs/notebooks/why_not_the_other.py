# %% [markdown]
# # Why not the other class?
#
# The classifier calls `pug.jpg` (docs/images) a tennis ball. What speaks for that, and what would have to change
# for a pug?

# %%
import onnxplain
from onnxplain import Target

explainer = onnxplain.Explainer()
ball, pug = explainer.explain("pug.jpg", ["tennis ball", "pug"], "smoothgrad", samples=8)
print(ball.title, "|", pug.title)

# %% [markdown]
# A difference of scores is one question of its own. Its map is signed where the method's sign says something: warm
# pixels speak for the first class, cold ones for the second.

# %%
difference = explainer.explain("pug.jpg", Target("pug", versus="tennis ball"), "integrated_gradients", steps=10)
print(difference.score)
difference.save("difference.png")

# %% [markdown]
# If you know what ought to have come out, say so: a comparison draws the predicted and the expected class.

# %%
comparison = explainer.explain("pug.jpg", expected="pug")
print(comparison.predicted.label, "but it is a", comparison.expected.label)

# %% [markdown]
# Is it true that the ball made the answer? Hide it, and ask again.

# %%
import numpy as np
from PIL import Image

photo = np.asarray(Image.open("pug.jpg").convert("RGB")).copy()
photo[175:262, 145:242] = photo[:20].mean(axis=(0, 1))
print(explainer.explain(photo).title)

"""The words of the gallery: what each kind of picture is for, and what each method can and cannot tell."""

from __future__ import annotations

HEAD = """\
# Gallery

Written by `python docs/gallery.py` with the bundled model,
[EfficientNet-Lite0](../models/efficientnet_lite0/README.md), and two photos: the cat Chelsea by Stefan van der Walt and
a cup of coffee by Rachel Michetti, both CC0, from scikit-image.

A map answers a question about the model, not about the photo, and every method asks another one. Before trusting a
method on a model of yours, measure it: `onnxplain evaluate` runs deletion and insertion, pointing games and the
model-randomisation check.

## Kinds of pictures
"""

KINDS = {
    "overlay": (
        "Overlay",
        '`explanation.picture()` or `explanation.save("a.png")`: the map over the photo, which is dimmed and nearly '
        "grey. `alpha` weighs the map, `percentiles` say which values become the lowest and the highest colour, "
        "`smooth` takes the grain away. Only the picture is changed, never the map. SmoothGrad, as in the next "
        "three.",
    ),
    "heatmap": (
        "Heat map",
        '`picture("heatmap")`: the map alone, not smoothed. Black around the square is what the model\'s crop left '
        "out.",
    ),
    "contour": (
        "Contour",
        '`picture("contour")`: lines where the smoothed map is 0.2, 0.4, 0.6 and 0.8 of its range. They leave the '
        "photo in sight.",
    ),
    "panel": (
        "Panel",
        '`picture("panel")`: photo, map and overlay below the class, its probability and its score. '
        '`explanation.save("a.svg", kind="panel")` or `.pdf` makes a figure of matplotlib of it, in which text '
        "stays text.",
    ),
    "signed": (
        "Signed maps",
        "`picture(kind, signed=True)`, for methods whose sign means something: red speaks for the class, blue "
        "against it, and zero is the middle of the colour map. Integrated gradients.",
    ),
    "colormaps": (
        "Colour maps",
        "`colormap=`: inferno, magma and viridis are perceptually uniform, so that equal steps look equally large; "
        "gray is for print; turbo shows more levels but makes edges where the map has none.",
    ),
    "grid": (
        "Grid",
        "`onnxplain.grid(explanations)` or `onnxplain explain --picture grid`: photos in rows, methods or classes "
        "in columns. Grad-CAM for the three best classes.",
    ),
    "report": (
        "Report",
        '`onnxplain.report(explanations, "report.html")` or `onnxplain explain photos/ --report report.html`: one '
        "file that opens offline in any browser, with search, filter, sorting and enlarged pictures.",
    ),
    "tokens": (
        "Tokens",
        "`onnxplain.pictures.tokens_image(tokens, attributions)` and `tokens_html`: text, each token on the colour of "
        "its attribution. The numbers are made up.",
    ),
    "bars": (
        "Bars",
        "`onnxplain.pictures.bars(names, values)` and `bars_figure` (matplotlib): tables, the largest magnitudes "
        "first, the others together. The numbers are made up.",
    ),
}

METHODS_HEAD = """\
## Methods

For each method the map and the overlay of both photos, for the predicted class, with the method's defaults. Maps in
red and blue have a sign: red speaks for the class. `explain(photo, method=NAME)` or `onnxplain explain --method NAME`.
"""

#: Method -> what it tells, what it does not.
METHOD_TEXTS = {
    "saliency": (
        "which pixels would change the score most if they changed a little. Saliency is sensitivity, not attribution.",
        "what made the score: where a feature is present so clearly that more of it changes nothing, its gradient "
        "is small. It has no sign, and neighbouring pixels disagree, since gradients of deep networks are noisy.",
    ),
    "gradient_x_input": (
        "the share of each pixel in the score to first order, with a sign; exact for a piecewise linear network "
        "without biases.",
        "anything about pixels whose input value is zero (after this preprocessing: a middle grey), whatever they "
        "mean. It is as noisy as the gradient.",
    ),
    "smoothgrad": (
        "what the gradient is on average over noisy copies of the photo: the same question as saliency, about a "
        "neighbourhood instead of a point, with less noise in the answer.",
        "how much noise is right: another level gives another map.",
    ),
    "smoothgrad_squared": (
        "where gradients are large, whatever their sign, over noisy copies: a few strong spots stand out.",
        "what is weak but present, since squares hide it; nor any sign.",
    ),
    "vargrad": (
        "where the gradient varies most between noisy copies.",
        "how large the gradient is: a pixel that always matters equally gets nothing.",
    ),
    "integrated_gradients": (
        "how the difference between the score of the photo and that of a baseline is shared out over the pixels: "
        "the map adds up to it (completeness), with a sign.",
        "anything without the baseline: what looks like it (here: a middle grey) gets nothing, and another baseline "
        "gives another map. It is sharp where the input is, so edges of the photo shine through.",
    ),
    "blur_integrated_gradients": (
        "at which detail the evidence appears, on a path from a blurred photo to the photo, without a colour that "
        "means nothing.",
        "what survives the blur, such as large areas of one colour.",
    ),
    "guided_integrated_gradients": (
        "what integrated gradients tell, on a path that moves the pixels with the smallest gradients first and so "
        "collects less noise on the way.",
        "anything that holds for every model with the same scores: the path depends on the gradients along it, so two "
        "such models may give different maps.",
    ),
    "expected_gradients": (
        "what integrated gradients tell, as a mean over baselines drawn from real inputs instead of one chosen "
        "baseline.",
        "anything apart from these references. Here they are the two photos and their mirror images, far too few; a "
        "part of the training data is meant.",
    ),
    "grad_cam": (
        "in which region the features for the class lie. It is calm, follows the class, and passes the sanity checks.",
        "which pixels: the map has 7 x 7 cells and is enlarged. It shows only what speaks for the class, and, by "
        "averaging gradients over positions, may mark regions that the score does not depend on.",
    ),
    "grad_cam_plus_plus": (
        "what Grad-CAM tells, with weights that let several objects of the class count alike.",
        "which pixels; and its weights come from positive gradients, so evidence against the class is passed over.",
    ),
    "layer_cam": (
        "each position by its own positive gradient; that makes it usable at earlier layers with finer maps "
        "(`layer=`).",
        "at the last layer little more than Grad-CAM.",
    ),
    "hires_cam": (
        "what the feature map contributes to the score, position by position, exactly where only linear layers follow.",
        "which pixels. For networks that end in average pooling and one linear layer, such as this one, it is the "
        "same as Grad-CAM.",
    ),
    "xgrad_cam": (
        "what Grad-CAM tells, with weights that make the map add up to the score as well as it can.",
        "which pixels. For networks such as this one it is the same as Grad-CAM up to rounding.",
    ),
    "guided_backprop": (
        "which fine structures drive the units on the way, in a sharp picture.",
        "much about the model: it fails the sanity check of Adebayo et al. (2018). The map stays nearly the same "
        "when the weights become random, for it recovers the edges of the photo. Do not explain a decision with it.",
    ),
    "deconvnet": (
        "which input patterns would excite the units that the class score excites, whatever the photo holds.",
        "what this photo's units did: the backward pass ignores which ReLUs were off. This network has no max pooling "
        "whose choices would bring the photo back in, so cat and coffee get nearly the same grid of its strides.",
    ),
    "guided_grad_cam": (
        "fine structures within the region of Grad-CAM. The region depends on the class.",
        "whether these structures matter: the detail is that of guided backpropagation, with its failure.",
    ),
    "attention_rollout": (
        "from which patches information can reach the class token through the attention of all blocks, for vision "
        "transformers; here a small one on drawn digits.",
        "why a class: the map is the same for every class, and it sees attention only, not what is done with the "
        "values.",
    ),
    "attention_relevance": (
        "which patches' attention speaks for the class, by its gradient.",
        "which pixels within a patch, and what reaches the score by other ways than attention.",
    ),
    "occlusion": (
        "what the score loses when a patch is hidden: an experiment, not a derivative, so models without gradients "
        "have it too. Blue patches were in the way of the class.",
        "what is smaller than the window, and what has a stand-in: of two eyes, hiding one may cost nothing. A "
        "hidden patch is itself something the model never saw.",
    ),
    "rise": (
        "where the class needs to be seen, from many random masks; it asks the model for scores only.",
        "what is finer than the cells of the masks. With few masks the map shows their grain.",
    ),
}

TOKENS = {
    "The": 0.02, "film": 0.1, "was": 0.0, "not": -0.9, "bad": 0.55, "at": 0.05, "all": 0.12, ",": 0.0, "and": 0.08,
    "the": 0.01, "act": 0.2, "##ing": 0.15, "is": 0.0, "superb": 1.0, ".": 0.03,
}  # fmt: skip

FEATURES = {
    "worst concave points": 2.1, "mean area": 1.4, "worst texture": -0.8, "mean smoothness": 0.3, "worst radius": 1.7,
    "mean symmetry": -0.25, "area error": 0.6, "texture error": 0.1, "mean compactness": -0.05,
}  # fmt: skip

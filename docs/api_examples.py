"""One example for every public name, for docs/reference/api.md; tests/test_docs.py runs all of them in order."""

from __future__ import annotations

#: Title -> names, in the order of the page.
GROUPS = {
    "Explain": (
        "Explainer", "Target", "Box", "Preprocessing", "find_preprocessing", "clear_cache", "__version__",
    ),
    "What comes back": (
        "Explanation", "Explanations", "Detection", "TableExplanation", "TokenExplanation", "ClassVisualization",
        "grid", "report", "bulk.explanations",
    ),
    "Models with gradients": (
        "differentiate", "differentiate_file", "differentiate_ir", "lower_gradients", "export_torch", "TorchExport",
    ),
    "Measure maps": (
        "evaluate", "Evaluation", "randomization_check", "RandomizationCheck", "metrics.deletion", "metrics.insertion",
        "metrics.Curves", "metrics.pointing_game", "metrics.energy_in_mask", "metrics.box_masks", "metrics.sparseness",
        "metrics.infidelity", "metrics.max_sensitivity", "metrics.rank_correlation", "metrics.ssim",
        "metrics.baseline_images", "metrics.Baseline", "metrics.Perturbation", "metrics.ScoreFunction",
        "metrics.ExplainFunction",
    ),
    "Extend": (
        "vjp", "extend.vjp", "extend.Emitter", "extend.Operator", "extend.Gradients", "extend.register_method",
        "extend.Method", "extend.Attributor", "extend.Attribution",
    ),
    "Errors and warnings": (
        "OnnxplainError", "ModelError", "UnsupportedOperatorError", "InputError", "TargetError", "ImageError",
        "PreprocessingError", "GradientError", "OutputError", "ProviderError", "RuntimeMissingError", "StoppedError",
        "BatchWarning", "CacheWarning", "ConvergenceWarning", "ProviderWarning",
    ),
}  # fmt: skip

#: What is said of a name that has no docstring of its own.
NOTES = {
    "__version__": "The version, a string as in `0.1.0`.",
    "extend.Gradients": "What a rule returns: a gradient or None (zero) for each input of the node.",
    "metrics.Baseline": 'What stands in the place of deleted pixels: `"blur"`, `"mean"`, a number in units of `x`, or '
    "an array that broadcasts to `x`.",
    "metrics.Perturbation": "How infidelity draws its perturbations.",
    "metrics.ScoreFunction": "f(x [B,C,H,W], targets [B]) -> scores [B], in any unit: of one batch, called often.",
    "metrics.ExplainFunction": "f(x [B,C,H,W], targets [B]) -> maps [B,H,W] or attributions shaped like `x`.",
}

_CATCH = """
try:
    {call}
except onnxplain.{name} as error:
    print(error)
"""
_WARN = """
import warnings

warnings.simplefilter("{action}", onnxplain.{name})   # {meaning}
"""
_SCORE = """
def score(inputs, targets):
    return explainer.scores(inputs)[range(len(inputs)), targets]

"""

EXAMPLES = {
    "Explainer": """
explainer = onnxplain.Explainer("model.onnx")
maps = explainer.saliency(x)                        # float32 [2,224,224], 0..1
gradient = explainer.attribute(x, target=[281, 285])  # dS/dx, shaped like x
print(explainer.explain("photo.jpg").label)
""",
    "Target": """
explanation = explainer.explain(photo, onnxplain.Target("tabby", versus="lynx"))
print(explanation.score)                            # S(tabby) - S(lynx)
""",
    "Box": """
box = onnxplain.Box(10, 20, 110, 70)                # x0, y0, x1, y1 in pixels
print(box.width, box.height, box.iou(onnxplain.Box(10, 20, 110, 120)))
""",
    "Preprocessing": """
facts = onnxplain.Preprocessing(resize="shortest", size=256, crop=224, mean=(0.5,), std=(0.25,))
tensor, geometry = facts.apply(explainer.explain(photo).image)   # float32 [3,224,224]
""",
    "find_preprocessing": """
found = onnxplain.find_preprocessing("model.onnx")
print(found.resize, found.size, found.crop)         # a Preprocessing, as the file states it
""",
    "clear_cache": """
print(onnxplain.clear_cache(), "bytes were freed")
""",
    "__version__": """
print(onnxplain.__version__)
""",
    "Explanation": """
explanation = explainer.explain(photo)
print(explanation.label, explanation.score, explanation.saliency.shape)   # [H,W] of the photo
explanation.save("explained.png", kind="panel")
""",
    "Explanations": """
several = explainer.explain(photo, "top3")          # a list, with a grid()
sheet = several.grid()                              # uint8 [H,W,3], which notebooks show
""",
    "Detection": """
detection = onnxplain.Detection.made(onnxplain.Box(10, 20, 110, 70), target=16, label="dog", score=0.9, index=3)
print(detection.title)                              # a target, too: explain(photo, detection)
""",
    "TableExplanation": """
import numpy as np

rows = np.linspace(0, 1, 26, dtype=np.float32).reshape(2, 13)
found = onnxplain.Explainer("table.onnx").explain_table(rows, background=rows)
print(found[0].title, found[0].attribution.shape)   # float32 [features]
""",
    "TokenExplanation": """
text = onnxplain.Explainer("text.onnx")
found = text.explain_tokens([[1, 3, 2]], [["a", "good", "film"]], 1, baseline=0)
print(found[0].names, found[0].attribution)         # float32 [tokens]
""",
    "ClassVisualization": """
seen = explainer.visualize_class("pug", preset="paper", steps=2)
print(type(seen).__name__, seen.image.shape)        # uint8 [H,W,3]
""",
    "grid": """
picture = onnxplain.grid([explainer.explain(photo, "top3")], kind="heatmap")   # uint8 [H,W,3]
""",
    "report": """
onnxplain.report([explainer.explain(photo)], "report.html")   # one file, opens offline
""",
    "bulk.explanations": """
for one in onnxplain.bulk.explanations("maps"):     # a folder that `onnxplain bulk` wrote
    print(one.label, one.saliency.shape)
""",
    "differentiate": """
model = onnxplain.differentiate("model.onnx", saliency=True)
print([output.name for output in model.graph.output])      # logits, score, grad_image, saliency_image
""",
    "differentiate_file": """
onnxplain.differentiate_file("model.onnx", "gradient.onnx")   # large weights stay in files
""",
    "differentiate_ir": """
model = onnxplain.differentiate_ir("model.onnx")    # an onnx_ir.Model, for further passes
""",
    "lower_gradients": """
plain = onnxplain.lower_gradients("model.onnx")     # nodes `Gradient` become standard operators
""",
    "export_torch": """
import torch

net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)).eval()
export = onnxplain.export_torch(net, torch.zeros(1, 3, 2, 2), "net.onnx")
""",
    "TorchExport": """
print(export.path, export.exporter, export.comparison)     # differences from torch.autograd
""",
    "evaluate": """
result = onnxplain.evaluate(explainer, [photo], ["saliency", "grad_cam"], metrics=["deletion", "sparseness"], steps=4)
""",
    "Evaluation": """
print(result.table())                               # also values, curves, rows(), save("result.csv"), plot()
""",
    "randomization_check": """
check = onnxplain.randomization_check("model.onnx", [photo], ["saliency"], stages=2)
""",
    "RandomizationCheck": """
print(check.table())
""",
    "metrics.deletion": _SCORE
    + """
from onnxplain import metrics

maps, targets = explainer.saliency(x), explainer.scores(x).argmax(axis=1)
deleted = metrics.deletion(score, x, maps, targets, steps=4)
print(deleted.auc)                                  # float64 [2]
""",
    "metrics.insertion": """
inserted = metrics.insertion(score, x, maps, targets, steps=4)
""",
    "metrics.Curves": """
print(inserted.fractions, inserted.scores.shape)    # share of pixels [5], scores [2,5]
""",
    "metrics.pointing_game": """
masks = np.ones(maps.shape, bool)
print(metrics.pointing_game(maps, masks))           # whether the maximum lies in the mask
""",
    "metrics.energy_in_mask": """
print(metrics.energy_in_mask(maps, masks))          # share of the map, 0..1
""",
    "metrics.box_masks": """
masks = metrics.box_masks([(10, 20, 110, 70), (0, 0, 50, 50)], 224, 224)   # bool [2,224,224]
""",
    "metrics.sparseness": """
print(metrics.sparseness(maps))                     # Gini index, 0..1
""",
    "metrics.infidelity": """
gradients = explainer.attribute(x, targets)
print(metrics.infidelity(score, x, gradients, targets, samples=2))
""",
    "metrics.max_sensitivity": """
def maps_of(inputs, targets):
    return explainer.saliency(inputs, targets)

print(metrics.max_sensitivity(maps_of, x, targets, samples=2))
""",
    "metrics.rank_correlation": """
print(metrics.rank_correlation(maps, abs(gradients).sum(axis=1)))   # Spearman, -1..1
""",
    "metrics.ssim": """
print(metrics.ssim(maps, maps))                     # structural similarity, 1 for equal maps
""",
    "metrics.baseline_images": """
print(metrics.baseline_images("blur", x).shape)
""",
    "metrics.Baseline": """
baseline: metrics.Baseline = "mean"
metrics.deletion(score, x, maps, targets, steps=2, baseline=baseline)
""",
    "metrics.Perturbation": """
perturbation: metrics.Perturbation = "gaussian"
metrics.infidelity(score, x, gradients, targets, samples=2, perturbation=perturbation, sigma=0.1)
""",
    "metrics.ScoreFunction": """
asked: metrics.ScoreFunction = score
""",
    "metrics.ExplainFunction": """
explained: metrics.ExplainFunction = maps_of
""",
    "vjp": """
from onnxplain.extend import Emitter, Gradients, Operator

@onnxplain.vjp("Twice", domain="my.domain")
def twice(emit: Emitter, node: Operator, dy) -> Gradients:
    return [emit.Add(dy, dy)]
""",
    "extend.vjp": """
from onnxplain.extend import vjp                    # the same function as onnxplain.vjp
""",
    "extend.Emitter": """
def halved(emit: Emitter, node: Operator, dy) -> Gradients:
    return [emit.Mul(dy, emit.constant(0.5, dy.dtype)), None, None]   # emit.NAME adds a node

onnxplain.differentiate("model.onnx", rules={"Clip": halved})
""",
    "extend.Operator": """
def refusing(emit: Emitter, node: Operator, dy) -> Gradients:
    raise node.refuse("its gradient", node.name, "leave it out")

rules = {"Relu": refusing}                          # the bundled model has no Relu
onnxplain.differentiate("model.onnx", rules=rules)
""",
    "extend.Gradients": """
def nothing(emit: Emitter, node: Operator, dy) -> Gradients:
    return [None]                                   # zero, and costs nothing
""",
    "extend.register_method": """
from dataclasses import dataclass

from onnxplain.extend import Attribution, Attributor, Method, register_method

@register_method
@dataclass(frozen=True)
class Negative(Method):
    name = "negative"

    def attribute(self, model: Attributor, feeds, targets) -> Attribution:
        found = model.attribute(feeds, targets)
        return found.with_attributions([-one for one in found.attributions])

explainer.attribute(x, 281, "negative")
""",
    "extend.Method": """
print(issubclass(Negative, Method), Negative())     # a frozen dataclass: its fields are its options
""",
    "extend.Attributor": """
def scores_of(model: Attributor, feeds, targets):
    return model.attribute(feeds, targets).scores   # a method asks the model for scores and gradients
""",
    "extend.Attribution": """
def doubled(found: Attribution) -> Attribution:
    return found.with_attributions([2 * one for one in found.attributions])
""",
    "OnnxplainError": _CATCH.format(call='onnxplain.Explainer("missing.onnx")', name="OnnxplainError"),
    "ModelError": _CATCH.format(call='onnxplain.differentiate("photo.jpg")', name="ModelError"),
    "UnsupportedOperatorError": _CATCH.format(
        call='onnxplain.differentiate("forest.onnx")', name="UnsupportedOperatorError"
    ),
    "InputError": _CATCH.format(call="explainer.saliency(x[:, :1])", name="InputError"),
    "TargetError": _CATCH.format(call='explainer.explain(photo, "no such class")', name="TargetError"),
    "ImageError": _CATCH.format(call='explainer.explain("model.onnx")', name="ImageError"),
    "PreprocessingError": _CATCH.format(call='onnxplain.Preprocessing(resize="diagonal")', name="PreprocessingError"),
    "GradientError": _CATCH.format(call="explainer.saliency(x)", name="GradientError"),
    "OutputError": _CATCH.format(call='explainer.explain(photo).save("photo.jpg/below.png")', name="OutputError"),
    "ProviderError": _CATCH.format(call='onnxplain.Explainer(providers="no such provider")', name="ProviderError"),
    "RuntimeMissingError": _CATCH.format(call="onnxplain.Explainer()", name="RuntimeMissingError"),
    "StoppedError": _CATCH.format(call="explainer.saliency(x)", name="StoppedError"),
    "BatchWarning": _WARN.format(
        action="error", name="BatchWarning", meaning="refuse models that cannot run several samples at once"
    ),
    "CacheWarning": _WARN.format(action="ignore", name="CacheWarning", meaning="be silent where the cache is not used"),
    "ConvergenceWarning": _WARN.format(
        action="error", name="ConvergenceWarning", meaning="an ascent that did not converge is an error"
    ),
    "ProviderWarning": _WARN.format(
        action="error", name="ProviderWarning", meaning="refuse to run on the CPU where CUDA was asked for"
    ),
}

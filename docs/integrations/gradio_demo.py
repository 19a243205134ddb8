"""A page that explains photos: ``python gradio_demo.py``; needs gradio."""

import gradio

import onnxplain

explainer = onnxplain.Explainer()
METHODS = ("saliency", "smoothgrad", "grad_cam", "integrated_gradients", "occlusion")


def explain(photo, method, label):
    """The overlay of a photo [H,W,3], and the five best classes with their probabilities."""
    try:
        explanation = explainer.explain(photo, label or None, method)
    except onnxplain.OnnxplainError as error:
        raise gradio.Error(str(error)) from error
    return explanation.overlay(), {one.label: one.probability for one in explanation.top}


demo = gradio.Interface(
    explain,
    [
        gradio.Image(),
        gradio.Dropdown(METHODS, value="saliency"),
        gradio.Textbox(label="Class (empty: the predicted one)"),
    ],
    [gradio.Image(), gradio.Label()],
)

if __name__ == "__main__":
    demo.launch(share=False)

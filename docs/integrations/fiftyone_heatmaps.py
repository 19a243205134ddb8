"""Put maps into a FiftyOne data set: ``python fiftyone_heatmaps.py NAME PHOTO...``; needs fiftyone.

Look at it with ``fiftyone app launch NAME``. For thousands of photos take ``onnxplain bulk --format fiftyone``.
"""

import sys

import fiftyone
import numpy as np

import onnxplain


def main(name: str, *photos: str) -> None:
    dataset = fiftyone.Dataset(name, overwrite=True, persistent=True)
    for explanation in onnxplain.Explainer().stream(photos):
        sample = fiftyone.Sample(filepath=explanation.source)
        sample["prediction"] = fiftyone.Classification(label=explanation.label, confidence=explanation.probability)
        sample["saliency"] = fiftyone.Heatmap(map=np.uint8(255 * explanation.saliency), range=[0, 255])
        dataset.add_sample(sample)
    print(dataset)


if __name__ == "__main__":
    main(*sys.argv[1:])

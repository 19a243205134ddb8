"""Outputs of detectors, decoded into scores [N,A,K] and boxes [N,A,4] in the graph, one family a file.

The families, each the ``name`` of a layout, and what a row (one of the A detections) holds:

- "yolov5" [N,A,5+K]: centre, width and height in pixels, objectness, classes. "yolov8" [N,4+K,A]: the same without
  objectness, transposed. "yolox" [N,A,5+K]: centre and sides relative to a cell. "fastestdet" [N,5+K,h,w]: objectness,
  centre and sides relative to a cell, classes. "boxes": as its fields say (:mod:`.rows`).
- "ssd": boxes [N,A,4] and scores [N,A,K]. "detr": logits [N,A,K+1], the last for no object, and boxes (:mod:`.pairs`).
- "rtdetr" [N,A,4+K]: centre, width and height in shares of the image, classes (:mod:`.rows`).
- "nanodet": of every stride scores [N,A,K] and distributions of the distances to the four sides (:mod:`.nanodet`).
- "yunet": of every stride cls, obj, bbox and kps (:mod:`.yunet`).
- "yolov8_nms", "torchvision", "tensorflow": detections that the model chose itself (:mod:`.chosen`).

Fields that may be stated of a layout (which of them a family has: :data:`onnxplain.layout.FIELDS`):

- ``outputs``: names of the outputs, in the family's order; ``image``: the input whose pixels boxes are given in.
- ``axis``: which axis of the output counts detections. ``box``: the four places of a row that hold the box;
  ``objectness`` that of the objectness, or None; ``classes`` those of the classes, or how many there are.
- ``format``: of the box, "cxcywh", "xyxy", "yxyx" or "ltrb" (distances from the middle of a cell to its four sides);
  ``scale``: "pixels", "normalised" (0..1 over the image), or "strides".
- ``activation``: "sigmoid" or "softmax", if classes (and objectness) are logits that the model leaves as they are.
- ``background``: the class that stands for no object, or None.
- ``keypoints``: [how many, numbers of each: 2 or 3], behind the classes; ``keypoint_names``: their names.
- ``decode``: how centre and sides follow from numbers and cell: "yolox", "yolov3", "yolov5", "fastestdet" or None;
  ``strides``: pixels a cell, one for each scale; ``anchors``: for each scale a list of widths and heights in pixels;
  ``offset``: of the middle of a cell, in cells; ``reg_max``: the longest distance of a distribution, in cells.
"""

"""Keras on TensorFlow, through tf2onnx and through Keras' own export; the gradients are GradientTape's.

``pip install tensorflow-cpu keras tf2onnx onnx``, then ``python tests/producers/keras.py``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this file must not be taken for the package it imports
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from keras import layers

from producers.fixture import store


def gelu(x: Any) -> Any:
    """By tanh: tf2onnx has no form of the exact one, which TensorFlow computes with Erfc."""
    return keras.activations.gelu(x, approximate=True)


def separable_image() -> keras.Model:
    """Channels last, SAME padding with stride 2 on odd and even extents, depthwise, batch normalisation."""
    x = image = keras.Input((19, 22, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Conv2D(12, 1, activation="swish")(x)
    x = layers.SeparableConv2D(12, 3, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(5)(x))


def residual_image() -> keras.Model:
    """A residual block, average and max pooling with SAME padding, dilation, up-sampling."""
    x = image = keras.Input((16, 16, 1), name="image")
    x = first = layers.Conv2D(6, 3, padding="same", activation="elu")(x)
    x = layers.BatchNormalization()(layers.Conv2D(6, 3, dilation_rate=2, padding="same")(x))
    x = layers.Activation(gelu)(layers.Add()([x, first]))
    x = layers.Concatenate()([layers.AveragePooling2D(3, 2, padding="same")(x), layers.MaxPooling2D(3, 2, "same")(x)])
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.LayerNormalization()(x)
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(image, layers.Dense(4)(x))


def tabular() -> keras.Model:
    x = table = keras.Input((10,), name="table")
    x = layers.Dense(16, activation="selu")(
        layers.Rescaling(0.5, -0.1)(x)
    )  # tf2onnx makes inputs of Normalization's mean
    x = layers.Dense(16, activation="leaky_relu")(layers.Dropout(0.5)(x))
    x = layers.Dense(8, activation="softplus")(x)
    return keras.Model(table, layers.Dense(3)(x))


def lstm_series() -> keras.Model:
    x = series = keras.Input((12, 3), name="series")
    x = layers.LSTM(8, return_sequences=True)(x)
    x = layers.Bidirectional(layers.LSTM(5))(x)
    return keras.Model(series, layers.Dense(4)(x))


def gru_series() -> keras.Model:
    x = series = keras.Input((9, 2), name="series")
    x = layers.GRU(7, return_sequences=True)(x)
    x = layers.GRU(5, reset_after=False)(x)
    return keras.Model(series, layers.Dense(3)(x))


def convolution_audio() -> keras.Model:
    """One-dimensional convolutions over a waveform."""
    x = wave = keras.Input((256, 1), name="wave")
    x = layers.Conv1D(8, 9, strides=4, padding="same", activation="relu")(x)
    x = layers.MaxPooling1D(2)(layers.BatchNormalization()(x))
    x = layers.Conv1D(8, 5, padding="causal", dilation_rate=2, activation="tanh")(x)
    x = layers.DepthwiseConv1D(3, padding="same")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(wave, layers.Dense(4)(x))


def attention_series() -> keras.Model:
    x = series = keras.Input((8, 12), name="series")
    x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(3, 4)(x, x)]))
    x = layers.Dense(12, activation=gelu)(x)
    return keras.Model(series, layers.Dense(3)(layers.Flatten()(x)))


MODELS = (
    separable_image, residual_image, tabular, lstm_series, gru_series, convolution_audio, attention_series,
)  # fmt: skip


def train(model: keras.Model) -> None:
    """A few steps on noise, so that no weight and no running mean is left as it was initialised."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, *model.input_shape[1:])).astype(np.float32)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(x, rng.integers(0, model.output_shape[-1], 32), epochs=3, verbose=0)


def with_softmax(model: keras.Model, x: np.ndarray) -> keras.Model:
    wrapped = keras.Model(model.input, layers.Softmax()(model.output), name=model.name)
    wrapped(x)
    return wrapped


def by_tf2onnx(model: keras.Model) -> onnx.ModelProto:
    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=model.input.name)]
    function = tf.function(lambda x: model(x, training=False), input_signature=signature)
    return tf2onnx.convert.from_function(function, input_signature=signature, opset=18)[0]


def by_keras(model: keras.Model) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.onnx")
        model.export(path, format="onnx", verbose=False)
        return onnx.load(path)


def gradient(model: keras.Model, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    with tf.GradientTape() as tape:
        watched = tf.Variable(x)
        score = tf.reduce_sum(tf.gather(model(watched, training=False), target, axis=1, batch_dims=1))
    return np.asarray(tape.gradient(score, watched))


def text() -> None:
    """Token ids: the gradient is that of the embedding."""
    keras.utils.set_random_seed(7)
    embedding = layers.Embedding(30, 6)
    x = vectors = keras.Input((10, 6), name="vectors")
    x = layers.Conv1D(8, 3, padding="same", activation="relu")(x)
    x = layers.GlobalMaxPooling1D()(layers.GRU(6, return_sequences=True)(x))
    rest = keras.Model(vectors, layers.Dense(3)(x))
    train(rest)
    ids = keras.Input((10,), dtype="int32", name="ids")
    tokens = np.random.default_rng(1).integers(0, 30, (2, 10)).astype(np.int32)
    model = with_softmax(keras.Model(ids, rest(embedding(ids))), tokens)
    signature = [tf.TensorSpec((None, 10), tf.int32, name="ids")]
    function = tf.function(lambda x: model(x, training=False), input_signature=signature)
    proto = tf2onnx.convert.from_function(function, input_signature=signature, opset=18)[0]
    target = np.array([0, 2])
    tables = {tensor.name for tensor in proto.graph.initializer if list(tensor.dims) == [30, 6]}
    made = next(node for node in proto.graph.node if node.op_type == "Gather" and node.input[0] in tables)
    found = gradient(rest, np.asarray(embedding(tokens)), target)
    save("text_gru_tf2onnx", proto, {"ids": tokens}, target, {made.output[0]: found}, "tf2onnx")


def save(name: str, proto: onnx.ModelProto, inputs: Any, target: Any, gradients: Any, *exporters: str) -> None:
    packages = ("keras", "tensorflow-cpu", "onnx", *exporters)
    store(f"keras_{name}", proto, inputs, target, gradients, script=__file__, packages=packages)


def main() -> None:
    for build in MODELS:
        keras.utils.set_random_seed(5)
        model = build()
        train(model)
        x = np.random.default_rng(2).standard_normal((2, *model.input_shape[1:])).astype(np.float32)
        target = np.array([1, model.output_shape[-1] - 1])
        found = gradient(model, x, target)
        for exporter, export in {"tf2onnx": by_tf2onnx, "own": by_keras}.items():
            proto = export(with_softmax(model, x))
            inputs = {proto.graph.input[0].name: x}
            gradients = {proto.graph.input[0].name: found}
            save(f"{build.__name__}_{exporter}", proto, inputs, target, gradients, "tf2onnx")
    text()


if __name__ == "__main__":
    main()

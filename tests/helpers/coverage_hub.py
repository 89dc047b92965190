"""Small KerasHub backbones, made from their constructors; without trained weights, which would be downloaded.

Two are not among them, as KerasHub 0.32 has layers that cannot be made again from their own `get_config()`, so that no
copy of the model can be made: ViT (`ViTPatchingAndEmbedding`) and Llama (`LlamaTransformerDecoder`). `rewrite.apply`
refuses them by name.
"""

import keras
import keras_hub

BACKBONES = {}


def backbone(function):
    """Registers a function by the name of the class that it makes."""
    BACKBONES[function.__name__] = function
    return function


def at_length(model, length=8):
    """The same network for sequences of one length: multiply-adds can only be counted where shapes are known."""
    inputs = {name: keras.Input((length,), dtype=tensor.dtype, name=name) for name, tensor in model.input.items()}
    return keras.models.clone_model(model, input_tensors=inputs)


@backbone
def ResNetBackbone():
    return keras_hub.models.ResNetBackbone(
        [16], [3], [64, 128], [2, 2], [1, 2], "bottleneck_block", image_shape=(16, 16, 3)
    )


@backbone
def ResNetV2Backbone():
    return keras_hub.models.ResNetBackbone(
        [64], [3], [64, 128], [2, 2], [1, 2], "basic_block", use_pre_activation=True, image_shape=(16, 16, 3)
    )


@backbone
def VGGBackbone():
    return keras_hub.models.VGGBackbone([1, 2], [8, 16], image_shape=(16, 16, 3))


@backbone
def DenseNetBackbone():
    return keras_hub.models.DenseNetBackbone([2, 3], image_shape=(32, 32, 3), growth_rate=8)


@backbone
def CSPNetBackbone():
    return keras_hub.models.CSPNetBackbone(
        8, 3, 2, [1, 2], [1, 2], [16, 32], "dark_block", stage_type="dark", image_shape=(32, 32, 3)
    )


@backbone
def MobileNetBackbone():
    return keras_hub.models.MobileNetBackbone(
        stackwise_expansion=[[40, 56], [64, 144]],
        stackwise_num_blocks=[2, 2],
        stackwise_num_filters=[[16, 16], [24, 24]],
        stackwise_kernel_size=[[3, 3], [5, 5]],
        stackwise_num_strides=[[2, 1], [2, 1]],
        stackwise_se_ratio=[[None, None], [0.25, 0.25]],
        stackwise_activation=[["relu", "relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1, 1], [2, 2]],
        output_num_filters=72,
        depthwise_filters=16,
        depthwise_stride=1,
        depthwise_residual=False,
        last_layer_filter=32,
        squeeze_and_excite=0.5,
        image_shape=(32, 32, 3),
    )


@backbone
def EfficientNetBackbone():
    return keras_hub.models.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0, 1.0],
        stackwise_depth_coefficients=[1.0, 1.0],
        stackwise_kernel_sizes=[3, 3],
        stackwise_num_repeats=[1, 2],
        stackwise_input_filters=[16, 16],
        stackwise_output_filters=[16, 24],
        stackwise_expansion_ratios=[1, 4],
        stackwise_squeeze_and_excite_ratios=[0.25, 0.25],
        stackwise_strides=[1, 2],
        stackwise_block_types=["unfused", "unfused"],
        num_features=64,
        input_shape=(32, 32, 3),
    )


@backbone
def XceptionBackbone():
    return keras_hub.models.XceptionBackbone(
        [[8, 16], [16, 24], [32, 32]], [True, True, False], image_shape=(48, 48, 3)
    )


@backbone
def BertBackbone():
    return at_length(keras_hub.models.BertBackbone(50, 2, 2, 16, 32, max_sequence_length=8))


@backbone
def DistilBertBackbone():
    return at_length(keras_hub.models.DistilBertBackbone(50, 2, 2, 16, 32, max_sequence_length=8))


@backbone
def GPT2Backbone():
    return at_length(keras_hub.models.GPT2Backbone(50, 2, 2, 16, 32, max_sequence_length=8))


@backbone
def FNetBackbone():
    return at_length(keras_hub.models.FNetBackbone(50, 2, 16, 32, max_sequence_length=8))

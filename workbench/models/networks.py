"""Networks by name, all from MONAI, for 2-D and 3-D images alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn


def build_network(name: str, *, channels: int, classes: int, dimensions: int) -> nn.Module:
    """Make a network with fresh weights, drawn from torch's current random state.

    Parameters
    ----------
    name : ``"compact"`` (a small DenseNet that two cores train in a minute), ``"resnet10"``, ``"resnet18"``,
        ``"densenet121"`` or ``"efficientnet-b0"``.
    channels : channels of the input.
    classes : logits of the output.
    dimensions : spatial axes of the input, 2 or 3.

    Raises
    ------
    InputError : where the name is unknown; the nearest right one is offered.
    """
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    return NETWORKS[name](channels, classes, dimensions)


def rebuild_network(architecture: Mapping[str, Any]) -> nn.Module:
    """Make the network that a saved model's record describes."""
    settings = {key: architecture[key] for key in ("channels", "classes", "dimensions")}
    return build_network(architecture["name"], **settings)


def check_input(network: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    """Raise InputError where images of `shape` ``(C, *spatial)`` are too small for the network's strides."""
    import torch

    was_training = network.training
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, *shape))
    except (RuntimeError, ValueError) as error:
        message = (
            f"network {name!r} cannot take images of {' × '.join(map(str, shape[1:]))} pixels ({error}). Most networks halve "
            "their input five times: give preprocessing=wb.Preprocessing(shape=…) with at least 64 pixels a side."
        )
        raise InputError(message) from error
    finally:
        network.train(was_training)


def _compact(channels: int, classes: int, dimensions: int) -> nn.Module:
    from monai.networks.nets.densenet import DenseNet

    # Three blocks halve the input four times, not five: the last maps, on which Grad-CAM is drawn, are twice as fine.
    return DenseNet(dimensions, channels, classes, init_features=16, growth_rate=8, block_config=(3, 3, 3))


def _densenet121(channels: int, classes: int, dimensions: int) -> nn.Module:
    from monai.networks.nets.densenet import DenseNet121

    return DenseNet121(dimensions, channels, classes)


def _resnet10(channels: int, classes: int, dimensions: int) -> nn.Module:
    from monai.networks.nets.resnet import ResNet

    # MONAI's first convolution has stride 1, made for small volumes; stride 2 is He et al.'s and four times faster.
    return ResNet(
        "basic", [1, 1, 1, 1], [16, 32, 64, 128], n_input_channels=channels, num_classes=classes,
        spatial_dims=dimensions, conv1_t_stride=2,
    )  # fmt: skip


def _resnet18(channels: int, classes: int, dimensions: int) -> nn.Module:
    from monai.networks.nets.resnet import resnet18

    return resnet18(n_input_channels=channels, num_classes=classes, spatial_dims=dimensions, conv1_t_stride=2)


def _efficientnet(channels: int, classes: int, dimensions: int) -> nn.Module:
    from monai.networks.nets.efficientnet import EfficientNetBN

    return EfficientNetBN(
        "efficientnet-b0", pretrained=False, in_channels=channels, num_classes=classes, spatial_dims=dimensions
    )


NETWORKS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "compact": _compact,
    "resnet10": _resnet10,
    "resnet18": _resnet18,
    "densenet121": _densenet121,
    "efficientnet-b0": _efficientnet,
}

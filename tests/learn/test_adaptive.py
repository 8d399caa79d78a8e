"""Networks that adapt by gradient descent; `test_macaw_update` holds codes and rates by value."""

import math

import torch

from idaq.learn.adaptive import TransformedLayer, mlp


def test_plain_layers_descend_by_the_rate_of_their_offset() -> None:
    """Without a code MACAW's inner loop is MAML's: w - alpha g, then from there."""
    layer, slopes = TransformedLayer(3, 2, 0, inner_lr=0.25), torch.randn(2, 4, 8)
    at = layer.start(4)
    for gradient in slopes:
        at = layer.descend(at, gradient)
    rate = math.log(1.25)
    torch.testing.assert_close(layer.weights(at), layer.offset - rate * (slopes[0] + slopes[1]))


def test_a_layers_weights_lie_row_by_row_and_biases_come_last() -> None:
    weights = torch.arange(8.0).expand(2, 8)
    x = torch.tensor([[[1.0, 10.0, 100.0]], [[0.0, 0.0, 1.0]]])
    torch.testing.assert_close(mlp([weights], x), torch.tensor([[[426.0, 538.0]], [[10.0, 12.0]]]))

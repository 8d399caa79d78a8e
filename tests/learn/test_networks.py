import torch

from idaq.learn.networks import mlp, weights_drawn_from


def test_weights_follow_from_their_seed_and_leave_other_draws_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    with weights_drawn_from(3):
        first = mlp(2, 8, 1, 1).state_dict()
    assert torch.equal(torch.rand(4), expected)
    with weights_drawn_from(3):
        second = mlp(2, 8, 1, 1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(3)
    assert all(torch.equal(value, first[name]) for name, value in mlp(2, 8, 1, 1).state_dict().items())

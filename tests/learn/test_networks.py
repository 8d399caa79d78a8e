import torch

from idaq.learn.networks import EnsembleMLP, mlp, weights_drawn_from


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


def test_members_answer_by_their_numbers() -> None:
    torch.manual_seed(0)
    ensemble, x = EnsembleMLP(4, 2, 3, 1, 2), torch.randn(3, 5, 2)
    everyone = ensemble(x[:1].expand(4, -1, -1))
    torch.testing.assert_close(ensemble(x[:1].expand(3, -1, -1), torch.tensor([2, 0, 2])), everyone[[2, 0, 2]])
    torch.testing.assert_close(ensemble(x), ensemble(x, torch.arange(3)))  # without numbers the first ones

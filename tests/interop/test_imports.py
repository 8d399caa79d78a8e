"""What other libraries write, imported: each in its own environment. See test_consumers for the other direction."""

import numpy as np

from tests.interop.conftest import Read


def test_rlds_of_tensorflow_datasets_comes_in(read: Read) -> None:
    """RLDS written by TensorFlow Datasets is imported: nested observations, images, splits as tasks"""
    found = read("rlds", "rlds_maker")
    assert found["tasks"] == ["toy.train", "toy.val"]
    for number, length in enumerate((4, 3, 2)):
        steps = np.arange(length + 1)
        assert found["states"][number] == [[t, number] for t in steps]
        assert found["images"][number] == [10 * number + t for t in steps]
        np.testing.assert_array_equal(found["actions"][number], (steps[:-1] / 10).astype(np.float32))
        assert found["rewards"][number] == steps[:-1].tolist()
        assert found["terminated"][number] == (number == 1)

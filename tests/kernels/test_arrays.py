"""The same formula on arrays and on tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffconsole.kernels import array_math, tensor_math
from diffconsole.kernels.arrays import as_array, as_tensor, math_of, on_arrays, without_gradient
from diffconsole.kernels.transforms import to_samples, to_spectrum

VALUES = np.array([[-1.2, -0.5, 0.0], [0.3, 0.9, 2.5]])
CALLS = {
    "amplitude": (), "at_least": (0.1,), "at_most": (0.2,), "copied": (), "cos": (), "exp": (),
    "expm1": (), "filled": (0.25,), "float64": (), "floor": (), "held": (), "log10": (),
    "logit": (), "normal_share": (), "sigmoid": (),
    "magnitude": (), "padded": (3,), "remainder": (0.7,), "rfft": (8,), "sin": (), "sinc": (),
    "sqrt": (), "tan": (), "tanh": (), "turned": (),
}  # fmt: skip


def test_both_have_the_same_functions():
    assert array_math.__all__ == tensor_math.__all__


@pytest.mark.parametrize("name", CALLS)
def test_each_function_gives_the_same(name):
    values = np.abs(VALUES) + 0.1 if name in ("log10", "sqrt") else VALUES
    if name == "logit":
        values = 0.2 * VALUES + 0.4
    found = getattr(array_math, name)(values, *CALLS[name])
    wanted = getattr(tensor_math, name)(torch.from_numpy(values), *CALLS[name]).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=1e-15)
    assert found.dtype == wanted.dtype


def test_functions_of_several():
    a, b = VALUES, VALUES[::-1].copy()
    one, other = torch.from_numpy(a), torch.from_numpy(b)
    for name in ("maximum", "minimum"):
        found, wanted = getattr(array_math, name)(a, b), getattr(tensor_math, name)(one, other)
        assert np.array_equal(found, wanted.numpy())
    for name in ("stack", "concatenate"):
        for axis in (0, -1):
            found = getattr(array_math, name)((a, b), axis=axis)
            assert np.array_equal(found, getattr(tensor_math, name)((one, other), axis=axis))
    found = array_math.power(10.0, a), array_math.power(np.abs(b) + 1.0, a)
    wanted = tensor_math.power(10.0, one), tensor_math.power(other.abs() + 1.0, one)
    for left, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(left, right.numpy(), rtol=1e-14)
    assert np.array_equal(array_math.where(a > 0, a, b), tensor_math.where(one > 0, one, other))
    assert np.array_equal(array_math.arange(1, 9, 3, a), tensor_math.arange(1, 9, 3, one))
    assert np.array_equal(array_math.like([0.5, 2.0], a), tensor_math.like([0.5, 2.0], one))
    assert array_math.cast(a, np.zeros(1, np.float32)).dtype == np.float32
    found = array_math.irfft(array_math.rfft(a, 8), 8)
    np.testing.assert_allclose(found[:, :3], a, atol=1e-15)


def test_a_result_does_not_depend_on_how_many_numbers_there_are():
    many = np.linspace(-3.0, 3.0, 1001)
    for name in ("exp", "cos", "tanh", "amplitude"):
        function = getattr(array_math, name)
        alone = [function(many[k : k + 1])[0] for k in range(len(many))]
        assert np.array_equal(function(many), alone)


def test_arrays_and_tensors_share_their_memory():
    tensor = torch.zeros(4)
    as_array(tensor)[1] = 5.0
    assert tensor.tolist() == [0.0, 5.0, 0.0, 0.0]
    array = np.zeros(2)
    as_tensor(array)[0] = 3.0
    assert array.tolist() == [3.0, 0.0]
    assert as_array({"a": tensor})["a"].dtype == np.float32
    assert as_array("word") == "word"
    assert as_array(torch.ones(2, dtype=torch.complex64).conj()).dtype == np.complex64
    assert on_arrays(lambda value: value)(tensor) is tensor


def test_which_way_a_function_goes():
    seen = []

    @without_gradient
    def double(audio, factors):
        seen.append(math_of(audio) is array_math)
        return audio * factors["two"]

    two = torch.tensor([2.0], dtype=torch.float64)
    plain = double(torch.ones(3, dtype=torch.float64), {"two": two})
    assert plain.tolist() == [2.0, 2.0, 2.0]
    double(np.ones(3), {"two": np.array([2.0])})
    assert seen == [True, True]
    # A setting alone asks for a gradient.
    double(torch.ones(3), {"two": two.requires_grad_()}).sum().backward()
    assert seen == [True, True, False] and two.grad.tolist() == [3.0]
    with torch.no_grad():
        double(torch.ones(3), {"two": two})
    assert seen[-1]


@pytest.mark.parametrize("name", ["amplitude", "cos", "exp", "expm1", "sin", "tan", "tanh"])
def test_what_is_out_of_range_gives_what_tensors_give(name):
    values = np.array([1e5, -1e5, np.inf, -np.inf, np.nan]) * (1.0 if name != "amplitude" else 20.0)
    found = getattr(array_math, name)(values)
    wanted = getattr(tensor_math, name)(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("length", [2048, 3000, 2 * 7 * 97])
@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 2e-6), (np.float64, 1e-13)])
def test_transforms(length, dtype, error):
    signal = np.random.default_rng(length).standard_normal((2, 3, 1000)).astype(dtype)
    spectrum = to_spectrum(signal, length)
    wanted = np.fft.rfft(signal.astype(np.float64), length)
    assert spectrum.dtype == np.result_type(dtype, 1j)
    assert np.abs(spectrum - wanted).max() < error * np.abs(wanted).max()
    back = to_samples(spectrum, length)
    assert back.dtype == dtype
    assert np.abs(back[..., :1000] - signal).max() < error * np.abs(signal).max()

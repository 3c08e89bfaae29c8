"""Attention by document and in shifted groups against slow references with dense masks, forward and backward."""

import pytest
import torch
from torch import Tensor

from extenders.training.attention import document_attention, shifted_attention


def inputs(rows: int, heads: int, keys: int, length: int, device: str = "cpu", dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(rows * 1000 + length)
    shapes = ((rows, heads, length, 16), (rows, keys, length, 16), (rows, keys, length, 16))
    made = [torch.randn(shape, generator=generator).to(device, dtype).requires_grad_() for shape in shapes]
    return made, torch.randn(shapes[0], generator=generator).to(device)


def reference(query: Tensor, key: Tensor, value: Tensor, allowed_BHSS: Tensor, scale: float) -> Tensor:
    """Dense and in float64."""
    query, key, value = query.double(), key.double(), value.double()
    repeat = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
    scores = (query @ key.transpose(-1, -2) * scale).masked_fill(~allowed_BHSS, float("-inf"))
    return torch.softmax(scores, -1) @ value


def same_document(starts: tuple[int, ...], length: int) -> Tensor:
    """[S, S]: causal and in one document."""
    number = torch.zeros(length, dtype=torch.long)
    for start in starts[1:]:
        number[start:] += 1
    position = torch.arange(length)
    return (number[:, None] == number[None]) & (position[:, None] >= position[None])


@pytest.mark.parametrize("heads, keys", [(4, 2), (3, 3), (4, 1)])
@pytest.mark.parametrize("starts", [((0,), (0,)), ((0, 5, 140), (0, 299)), ((0, 1), (0, 128, 129))])
def test_document_attention_is_dense_attention_with_a_mask(heads: int, keys: int, starts) -> None:
    made, slope = inputs(2, heads, keys, 300)
    output = document_attention(*made, starts, 0.3)
    gradients = torch.autograd.grad((output * slope).sum(), made)
    allowed = torch.stack([same_document(row, 300) for row in starts])[:, None]
    wanted = reference(*made, allowed, 0.3)
    wanted_gradients = torch.autograd.grad((wanted * slope).sum(), made)
    assert (output - wanted).abs().max() < 1e-5
    for got, want in zip(gradients, wanted_gradients, strict=True):
        assert (got - want).abs().max() < 1e-4


def shifted_reference(made: list[Tensor], starts: tuple[int, ...], scale: float, group: int) -> Tensor:
    heads, length = made[0].shape[1], made[0].shape[2]
    allowed = []
    for head in range(heads):
        offset = 0 if head < heads // 2 else group // 2
        number = torch.tensor([(i + offset) // group for i in range(length)])
        allowed.append((number[:, None] == number[None]) & same_document(starts, length))
    return reference(*made, torch.stack(allowed)[None], scale)


@pytest.mark.parametrize("heads, keys", [(4, 2), (4, 1), (8, 4)])
@pytest.mark.parametrize("group, starts", [(64, (0,)), (50, (0,)), (64, (0, 70, 100))])
def test_shifted_attention_is_its_slow_reference(heads: int, keys: int, group: int, starts) -> None:
    made, slope = inputs(1, heads, keys, 256)
    output = shifted_attention(*made, [starts], 0.25, group)
    gradients = torch.autograd.grad((output * slope).sum(), made)
    wanted = shifted_reference(made, starts, 0.25, group)
    wanted_gradients = torch.autograd.grad((wanted * slope).sum(), made)
    assert (output - wanted).abs().max() < 1e-5
    for got, want in zip(gradients, wanted_gradients, strict=True):
        assert (got - want).abs().max() < 1e-4


def test_shifted_heads_never_see_the_future() -> None:
    made, _ = inputs(1, 4, 4, 128)
    before = shifted_attention(*made, [(0,)], 0.25, 32)
    with torch.no_grad():
        for tensor in made[1:]:
            tensor[:, :, 100:] += 1  # the published code lets the first tokens see these
    assert torch.equal(before[:, :, :100], shifted_attention(*made, [(0,)], 0.25, 32)[:, :, :100])


@pytest.mark.parametrize("starts", [((1,),), ((0, 8),), ((0,), (0,))])
def test_documents_that_do_not_fit_are_an_error(starts) -> None:
    made, _ = inputs(1, 2, 2, 8)
    with pytest.raises(ValueError, match="documents start at"):
        document_attention(*made, starts, 1.0)


@pytest.mark.gpu
def test_the_variable_length_kernel_gives_the_same() -> None:
    """bf16 against the float64 reference: two roundings of 2^-8."""
    made, slope = inputs(2, 4, 2, 300, "cuda", torch.bfloat16)
    starts = ((0, 5, 140), (0, 299))
    output = document_attention(*made, starts, 0.25)
    gradients = torch.autograd.grad((output * slope.bfloat16()).sum(), made)
    allowed = torch.stack([same_document(row, 300) for row in starts])[:, None].cuda()
    wanted = reference(*made, allowed, 0.25)
    wanted_gradients = torch.autograd.grad((wanted * slope).sum(), made)
    assert (output - wanted).abs().max() < 0.03
    for got, want in zip(gradients, wanted_gradients, strict=True):
        assert (got - want).abs().max() < 0.1


def test_autocast_may_leave_queries_in_float32() -> None:
    """Rotated queries are float32 in some models while values are bf16; PyTorch's own attention casts them too."""
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(1, heads, 300, 16, generator=generator) for heads in (4, 2, 2))
    query.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        output = document_attention(query, key, value.bfloat16(), [[0]], 0.25)
    output.float().square().sum().backward()
    wanted = torch.nn.functional.scaled_dot_product_attention(
        query.detach(), key, value, is_causal=True, scale=0.25, enable_gqa=True
    )
    assert output.dtype == torch.bfloat16 and query.grad is not None and query.grad.dtype == torch.float32
    torch.testing.assert_close(output.float(), wanted, atol=0.02, rtol=0.02)

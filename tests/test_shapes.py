"""Tests that annotated shapes are checked while the tests run."""

from __future__ import annotations

import jaxtyping
import pytest
import torch

from openrealm.models.likelihood import log_p_z_given_x


def test_two_tensors_that_would_broadcast_by_accident_are_refused() -> None:
    scores, one_row = torch.zeros(2, 3), torch.ones(1, 3, dtype=torch.bool)
    with pytest.raises(jaxtyping.TypeCheckError):
        log_p_z_given_x(scores, one_row)


def test_a_tensor_of_the_wrong_kind_of_number_is_refused() -> None:
    scores, numbers = torch.zeros(2, 3), torch.ones(2, 3)
    with pytest.raises(jaxtyping.TypeCheckError):
        log_p_z_given_x(scores, numbers)

"""The oracle: the likelihood, and a general optimiser of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from tests.examples import examples
from vmanomaly.model.temporal_envelope_multivariate.factors import (
    LEAST_UNIQUENESS,
    FactorModel,
    factor_analysis,
    shrunk_covariance,
)
from vmanomaly.series import FloatArray


def covariance_of(model: FactorModel) -> FloatArray:
    loadings, uniquenesses = model
    covariance: FloatArray = loadings @ loadings.T + np.diag(uniquenesses)
    return covariance


def log_likelihood(model: FactorModel, covariance: FloatArray) -> float:
    fitted = covariance_of(model)
    return -float(np.linalg.slogdet(fitted)[1] + np.trace(np.linalg.solve(fitted, covariance)))


def sampled(seed: int, n_channels: int, n_factors: int, n_samples: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(n_channels, n_factors))
    own = rng.uniform(0.3, 1.0, (n_channels, 1))
    factors = rng.normal(size=(n_factors, n_samples))
    samples: FloatArray = loadings @ factors + own * rng.normal(size=(n_channels, n_samples))
    return samples * 10.0 ** rng.integers(-2, 3, (n_channels, 1))


@pytest.mark.parametrize(("n_channels", "n_factors"), [(4, 1), (6, 2), (10, 3)])
def test_an_optimiser_finds_hardly_more_likelihood(n_channels: int, n_factors: int) -> None:
    correlation: FloatArray = np.atleast_2d(
        np.corrcoef(sampled(n_channels, n_channels, n_factors, 3_000))
    )
    found = factor_analysis(correlation, n_factors, seed=1)

    def model_of(parameters: FloatArray) -> FactorModel:
        loadings = parameters[:-n_channels].reshape(n_channels, n_factors)
        return FactorModel(loadings, np.exp(parameters[-n_channels:]))

    start = np.concatenate((found.loadings.ravel(), np.log(found.uniquenesses)))
    best = minimize(lambda x: -log_likelihood(model_of(x), correlation), start, method="BFGS")
    assert log_likelihood(found, correlation) == pytest.approx(-best.fun, abs=2e-3)
    # Expectation maximisation is slow at the end, where the likelihood is flat.
    np.testing.assert_allclose(covariance_of(found), covariance_of(model_of(best.x)), atol=0.01)


def test_a_covariance_that_is_of_the_model_is_found_exactly() -> None:
    rng = np.random.default_rng(0)
    model = FactorModel(rng.normal(size=(10, 2)), rng.uniform(0.2, 1.0, 10))
    found = factor_analysis(covariance_of(model), 2, seed=42)
    np.testing.assert_allclose(covariance_of(found), covariance_of(model), atol=1e-4)


@examples(25)
@given(seed=st.integers(0, 2**32 - 1), n_channels=st.integers(2, 12), n_samples=st.integers(2, 80))
def test_any_start_leads_to_more_likelihood_than_no_relation(
    seed: int, n_channels: int, n_samples: int
) -> None:
    covariance = shrunk_covariance(sampled(seed, n_channels, 2, n_samples))
    n_factors = min(2, n_channels - 1)
    independent = FactorModel(np.zeros((n_channels, 1)), np.diag(covariance))
    for start in (0, 1, 42):
        found = factor_analysis(covariance, n_factors, start)
        variances = np.diag(covariance)
        assert (found.uniquenesses >= LEAST_UNIQUENESS * variances * (1 - 1e-9)).all()
        assert (found.uniquenesses <= variances * (1 + 1e-9)).all()
        gained = log_likelihood(found, covariance) - log_likelihood(independent, covariance)
        assert gained >= -1e-9


def test_the_same_seed_gives_the_same_model() -> None:
    covariance = shrunk_covariance(sampled(3, 8, 2, 500))
    for one, other in zip(
        factor_analysis(covariance, 2, 7), factor_analysis(covariance, 2, 7), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_copy_of_a_channel_is_not_trusted_wholly() -> None:
    found = factor_analysis(np.ones((3, 3)), 1, seed=0)
    np.testing.assert_allclose(found.uniquenesses, LEAST_UNIQUENESS)


def test_few_samples_of_many_channels_show_no_relation() -> None:
    samples = np.random.default_rng(0).normal(size=(100, 20))
    shrunk = shrunk_covariance(samples)
    np.testing.assert_allclose(np.diag(shrunk), (samples**2).mean(axis=1))
    np.testing.assert_allclose(shrunk[0, 1], samples[0] @ samples[1] / 20 * (20 / 120))

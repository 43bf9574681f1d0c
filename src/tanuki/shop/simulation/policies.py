"""Who orders in a simulation: managers, a point forecast, our forecasts, perfect information.

A policy is made for a scenario; it then orders on each Monday for the next. All but the managers
and the published practice order by the same rule, so they differ only in what they know of demand.
"""

from collections.abc import Callable

import numpy as np
import polars as pl

from tanuki.errors import UserError
from tanuki.shop.features import Numbers
from tanuki.shop.forecasting.forecaster import (
    DEFAULT_FORECASTER,
    QUANTILE_COLUMNS,
    QUANTILE_LEVELS,
    make_forecaster,
)
from tanuki.shop.ordering import Demand, OrderInput, Stock, propose_orders
from tanuki.shop.simulation.demand import GAMMA_NOISE_SHAPE
from tanuki.shop.simulation.inventory import DAYS_PER_WEEK, Counts, OrderPolicy, Trajectory
from tanuki.shop.simulation.managers import round_up_to_cases
from tanuki.shop.simulation.scenarios import Scenario

REFIT_EVERY_WEEKS = 4  # a model is fitted again after so many weeks
# The practice that published samples show: boosted trees whose mean is ordered.
PUBLISHED_FORECASTER = "lightgbm"
MAX_STANDARD_DEVIATIONS = 12.0  # beyond the mean, to which demand_distribution computes

# From a week's Monday to [buffer week, target week, both; store; item; QUANTILE_LEVELS, mean].
DemandSource = Callable[[int, Trajectory], Numbers]


def make_managers_policy(scenario: Scenario) -> OrderPolicy:
    """As the managers order by habit."""
    return scenario.managers.order_next_week


def make_published_policy(scenario: Scenario) -> OrderPolicy:
    """A point forecast, less what should be left over, in whole cases."""
    forecast = make_demand_source(scenario, PUBLISHED_FORECASTER)

    def order(week: int, trajectory: Trajectory) -> Counts:
        buffer, target, _ = forecast(week, trajectory)[..., -1]
        on_hand, on_order = trajectory.on_hand(week), trajectory.deliveries[week]
        left = np.maximum(0.0, on_hand + on_order - buffer)
        cases = round_up_to_cases(np.maximum(0.0, target - left), scenario.chain.rules)
        return np.where(target > left, cases, 0)

    return order


def make_tanuki_policy(scenario: Scenario, model: str = DEFAULT_FORECASTER) -> OrderPolicy:
    """A forecaster's quantiles through the ordering rule."""
    return apply_ordering_rule(scenario, make_demand_source(scenario, model))


def make_oracle_policy(scenario: Scenario) -> OrderPolicy:
    """The ordering rule with the exact distribution of demand: all but the random draws.

    Raises UserError for a scenario whose expected demand is not known.
    """
    expected = scenario.expected
    if expected is None:
        raise UserError(
            "The oracle needs expected demand, which only the example world knows;"
            " leave it out with recorded sales."
        )

    def know(week: int, _: Trajectory) -> Numbers:
        return demand_distribution(expected[week * DAYS_PER_WEEK : (week + 2) * DAYS_PER_WEEK])

    return apply_ordering_rule(scenario, know)


def make_perfect_information_policy(scenario: Scenario) -> OrderPolicy:
    """The ordering rule with demand itself: what is left to pay when nothing is uncertain."""

    def know(week: int, _: Trajectory) -> Numbers:
        days = scenario.demand[week * DAYS_PER_WEEK : (week + 2) * DAYS_PER_WEEK]
        weeks = days.reshape(2, DAYS_PER_WEEK, *days.shape[1:]).sum(axis=1)
        sums = np.concatenate([weeks, weeks.sum(axis=0, keepdims=True)]).astype(np.float64)
        return np.repeat(sums[..., None], len(QUANTILE_LEVELS) + 1, axis=-1)

    return apply_ordering_rule(scenario, know)


POLICIES: dict[str, Callable[[Scenario], OrderPolicy]] = {
    "managers": make_managers_policy,
    "published": make_published_policy,
    "tanuki": make_tanuki_policy,
    "oracle": make_oracle_policy,
    "perfect_information": make_perfect_information_policy,
}


def make_policy(scenario: Scenario, name: str, model: str | None = None) -> OrderPolicy:
    """A policy of POLICIES; `model` is the forecaster of "tanuki", the default unless given."""
    if name == "tanuki" and model:
        return make_tanuki_policy(scenario, model)
    return POLICIES[name](scenario)


def apply_ordering_rule(scenario: Scenario, source: DemandSource) -> OrderPolicy:
    """`ordering.propose_orders` for all stores and items at once, without limits of stores."""
    rules = scenario.chain.rules

    def order(week: int, trajectory: Trajectory) -> Counts:
        demand = source(week, trajectory)
        on_hand, on_order = trajectory.on_hand(week), trajectory.deliveries[week]
        inputs = []
        for s, store in enumerate(scenario.chain.stores):
            for i, rule in enumerate(rules):
                buffer, target, both = (
                    Demand(float(row[-1]), tuple(row[:-1].tolist())) for row in demand[:, s, i]
                )
                stock = Stock(float(on_hand[s, i]), float(on_order[s, i]))
                inputs.append(OrderInput(store, buffer, target, both, rule, stock))
        units = [proposal.units for proposal in propose_orders(inputs)]
        return np.array(units, dtype=np.int64).reshape(on_hand.shape)

    return order


def make_demand_source(scenario: Scenario, forecaster: str) -> DemandSource:
    """A forecaster's view, fitted every REFIT_EVERY_WEEKS; it always uses the latest sales."""
    model = make_forecaster(forecaster)
    assortment = scenario.assortment
    one_day = np.zeros((1, *assortment.shape), dtype=np.int64)
    keys = scenario.to_frame([scenario.monday], one_day).select("store", "item")

    def forecast(week: int, trajectory: Trajectory) -> Numbers:
        nonlocal model
        target = scenario.week(week + 1)
        panel = scenario.known_history(week, trajectory).build_panel(target)
        if (week - scenario.policy_start) % REFIT_EVERY_WEEKS == 0:
            model = make_forecaster(forecaster)
            model.fit(panel)
        frame = model.predict(panel)
        demand = np.zeros((3, *assortment.shape, len(QUANTILE_LEVELS) + 1))
        weeks = (str(target.buffer), str(target), target.two_week_interval)
        for n, name in enumerate(weeks):
            rows = keys.join(
                frame.filter(pl.col("week") == name),
                on=["store", "item"],
                how="left",
                maintain_order="left",
            )
            columns = rows.select(*QUANTILE_COLUMNS, "mean").fill_null(0.0)
            demand[n][assortment] = columns.to_numpy()
        return demand

    return forecast


def demand_distribution(expected: Numbers) -> Numbers:
    """The exact distribution of two weeks' demand, as DemandSource gives it.

    `expected` is the mean demand of fourteen days [day, store, item]. A day's demand is
    Poisson(m G) with G ~ Gamma(shape k, mean 1), as in `simulate_environment`: negative binomial
    with probability generating function E[z^D] = (1 - m (z - 1) / k)^-k. Days are independent, so
    the function of a week, or of both, is the product over its days. At the points
    z = exp(-2 pi i j / size) it is the discrete Fourier transform of the probabilities of
    0 … size - 1 units, so the inverse transform gives them. `size` is a power of two beyond
    MAX_STANDARD_DEVIATIONS, where what lies above, and would be added to small counts, is nil.
    """
    days = expected.reshape(2, DAYS_PER_WEEK, -1)
    mean = days.sum(axis=1)
    sd = np.sqrt((days + days**2 / GAMMA_NOISE_SHAPE).sum(axis=(0, 1)))
    largest = (mean.sum(axis=0) + MAX_STANDARD_DEVIATIONS * sd).max() + 2
    size = 1 << int(np.ceil(np.log2(largest)))
    z_minus_1 = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size) - 1
    log_pgf = [
        sum(
            -GAMMA_NOISE_SHAPE * np.log(1 - day[:, None] / GAMMA_NOISE_SHAPE * z_minus_1)
            for day in week
        )
        for week in days
    ]
    log_pgfs = [*log_pgf, log_pgf[0] + log_pgf[1]]
    means = [*mean, mean.sum(axis=0)]
    distributions = []
    for log_pgf_of_sum, mean_of_sum in zip(log_pgfs, means, strict=True):
        cdf = np.cumsum(np.fft.irfft(np.exp(log_pgf_of_sum), size, axis=1), axis=1)
        quantiles = [np.argmax(cdf >= level - 1e-9, axis=1) for level in QUANTILE_LEVELS]
        distributions.append(np.column_stack([*quantiles, mean_of_sum]))
    return np.stack(distributions).reshape(3, *expected.shape[1:], len(QUANTILE_LEVELS) + 1)

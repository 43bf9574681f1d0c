"""The forecaster: a global multiplicative Poisson regression with empirical-Bayes shrinkage.

The mean of each store, item and day is a product of factors that all series share where one series
alone cannot tell them: level, weekday, month, event, payday, price, promotions and temperature.
Exponential smoothing follows each series' residual level, gradient boosting what the regression
leaves of promoted weeks. Weekly demand is negative binomial or lognormal. docs/forecaster.md gives
the formulas in the order of this folder's README.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tanuki.shop.features import Grid, Numbers, build_grid
from tanuki.shop.forecasting.forecaster import build_explanation, build_forecast
from tanuki.shop.forecasting.poisson_regression.calibration import (
    Window,
    calibrate,
    choose_item_month_prior,
    train_on_window,
)
from tanuki.shop.forecasting.poisson_regression.dispersion import Dispersion, count_quantiles
from tanuki.shop.forecasting.poisson_regression.effects import (
    CalendarEffects,
    Effects,
    LevelEffects,
    RegressorEffects,
    SeriesKeys,
    compute_factors,
    compute_log_lift,
    multiply_factors,
    sum_daily_means,
    unseen_month_variation,
)
from tanuki.shop.forecasting.poisson_regression.fit import fit_regression
from tanuki.shop.forecasting.poisson_regression.regressors import build_regressors
from tanuki.shop.forecasting.poisson_regression.residual_boosting import (
    WeeklyResiduals,
    blend_means,
    predict_boosted_means,
)
from tanuki.shop.forecasting.poisson_regression.settings import PriorUnits, Settings
from tanuki.shop.forecasting.poisson_regression.smoothing import (
    SMOOTHING_WEEKS,
    project_levels,
    sum_weekly_sales,
)
from tanuki.shop.panel import Panel

if TYPE_CHECKING:
    from lightgbm import Booster

ARRAYS_FILE, MODEL_FILE = "poisson_regression.npz", "poisson_regression.json"
BOOSTER_FILE = "residual_boosting.txt"


@dataclass(frozen=True)
class Outlook:
    """What predict and explain share.

    `factors` are lines × days by driver, of the days that the smoothers use and the fourteen to
    forecast. `mean` and `level` are 2 × lines: of the buffer week and the target week.
    """

    factors: dict[str, Numbers]
    mean: Numbers
    level: Numbers


@dataclass
class PoissonRegression:
    settings: Settings = field(default_factory=Settings)
    effects: Effects | None = None
    dispersion: Dispersion | None = None
    smoother_weights: list[float] = field(default_factory=list)  # as SMOOTHERS
    booster: "Booster | None" = None
    boosting_weight: float = 0.0
    name: str = "poisson_regression"

    @property
    def parameters(self) -> dict[str, float]:
        settings = asdict(self.settings)
        prior_units = settings.pop("prior_units")
        flat = {f"{name}_prior_units": value for name, value in prior_units.items()} | settings
        return {name: float(value) for name, value in flat.items()}

    def fit(self, panel: Panel) -> None:
        grid = build_grid(panel)
        if grid.keys.height == 0:
            return
        regressors = build_regressors(grid, panel, grid.days)
        settings, fitter = choose_item_month_prior(grid, regressors, self.settings)
        calibration, fitter = calibrate(grid, regressors, settings, fitter)
        self.smoother_weights = calibration.smoother_weights
        self.boosting_weight = calibration.boosting_weight
        self.dispersion = calibration.dispersion
        self.effects = fit_regression(grid, regressors, settings, fitter).effects()
        self.booster = None
        if self.boosting_weight > 0:
            window = Window(grid, [], len(grid.days), regressors)
            self.booster = train_on_window(window, self.effects)

    def predict(self, panel: Panel) -> pl.DataFrame:
        grid = build_grid(panel)
        if grid.keys.height == 0 or self.effects is None or self.dispersion is None:
            return build_forecast(panel, grid.keys.clear(), [], [])
        outlook = self.outlook(self.effects, grid, panel)
        ahead = {name: factor[:, -14:] for name, factor in outlook.factors.items()}
        days = [*panel.target.buffer.days, *panel.target.days]
        variation = np.sqrt(
            self.dispersion.extra_variance(grid.keys["item"].to_list(), compute_log_lift(ahead))
            + unseen_month_variation(self.effects, days)[:, None] ** 2
        )
        mean, dispersion = outlook.mean, self.dispersion
        quantiles = [
            count_quantiles(total, variation[n], dispersion.levels, dispersion.family)
            for n, total in enumerate([mean[0], mean[1], mean.sum(axis=0)])
        ]
        return build_forecast(panel, grid.keys, quantiles, list(mean))

    def explain(self, panel: Panel) -> pl.DataFrame:
        """The drivers' effects, one after the other, from the last known week to the target week.

        "level" is the recent level with the last week's calendar and prices less what sold then;
        each other driver is the change when its factor goes from the last week's to the target's.
        What boosting changes counts as promotion, since it is trained on prices and promotions.
        """
        grid = build_grid(panel)
        if grid.keys.height == 0 or self.effects is None:
            return build_explanation(grid.keys.clear(), {})
        outlook = self.outlook(self.effects, grid, panel)
        level = outlook.level[1]
        last_week, target_week = slice(-21, -14), slice(-7, None)
        factors = {name: factor[:, last_week] for name, factor in outlook.factors.items()}
        total = multiply_factors(factors).sum(axis=1) * level
        effects = {"last": np.nan_to_num(grid.units[:, -7:]).sum(axis=1)}
        effects["level"] = total - effects["last"]
        for name in factors:
            factors[name] = outlook.factors[name][:, target_week]
            changed = multiply_factors(factors).sum(axis=1) * level
            effects[name] = effects.get(name, 0.0) + changed - total
            total = changed
        effects["promotion"] = effects.get("promotion", 0.0) + outlook.mean[1] - total
        return build_explanation(grid.keys, effects)

    def outlook(self, effects: Effects, grid: Grid, panel: Panel) -> Outlook:
        days = [*panel.target.buffer.days, *panel.target.days]
        recent = grid.last_days(SMOOTHING_WEEKS * 7)
        past = len(recent.days)
        first, end = len(grid.days) - past, len(grid.days) + len(days)
        regressors = build_regressors(grid, panel, [*grid.days, *days]).slice_days(first, end)
        factors = compute_factors(effects, grid, [*recent.days, *days], regressors)
        daily_means = multiply_factors(factors)
        sales = sum_weekly_sales(recent, daily_means[:, :past], effects.overdispersion)
        levels = project_levels(grid, sales, effects.growth)
        level = np.tensordot(self.smoother_weights, levels, axes=1)
        mean = sum_daily_means(daily_means[:, past:]) * level
        if self.booster is not None:
            residuals = WeeklyResiduals(recent, daily_means, regressors)
            boosted = predict_boosted_means(self.booster, residuals, past // 7)
            mean = blend_means(mean, boosted, self.boosting_weight)
        return Outlook(factors, mean, level)

    def save(self, folder: Path) -> None:
        """Arrays as .npz, the rest as .json, the booster as LightGBM's text."""
        folder.mkdir(parents=True, exist_ok=True)
        fitted = {"effects": self.effects, "dispersion": self.dispersion}
        arrays: dict[str, Any] = {}
        tree = {
            "settings": asdict(self.settings),
            "smoother_weights": self.smoother_weights,
            "boosting_weight": self.boosting_weight,
            **{
                name: None if value is None else split_arrays(asdict(value), f"{name}.", arrays)
                for name, value in fitted.items()
            },
        }
        np.savez(folder / ARRAYS_FILE, allow_pickle=False, **arrays)
        text = json.dumps(tree, ensure_ascii=False)
        (folder / MODEL_FILE).write_text(text, encoding="utf-8")
        if self.booster is not None:
            (folder / BOOSTER_FILE).write_text(self.booster.model_to_string(), encoding="utf-8")

    def load(self, folder: Path) -> None:
        tree = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
        with np.load(folder / ARRAYS_FILE, allow_pickle=False) as arrays:
            join_arrays(tree, arrays)
        settings = tree["settings"]
        settings["prior_units"] = PriorUnits(**settings["prior_units"])
        self.settings = Settings(**settings)
        self.smoother_weights = tree["smoother_weights"]
        self.boosting_weight = tree["boosting_weight"]
        self.effects = None if tree["effects"] is None else effects_from(tree["effects"])
        self.dispersion = None if tree["dispersion"] is None else Dispersion(**tree["dispersion"])
        self.booster = None
        if (folder / BOOSTER_FILE).exists():
            import lightgbm

            text = (folder / BOOSTER_FILE).read_text(encoding="utf-8")
            self.booster = lightgbm.Booster(model_str=text)


def split_arrays(
    tree: Mapping[str, Any], prefix: str, arrays: dict[str, Numbers]
) -> dict[str, Any]:
    """The tree without its arrays, which are put into `arrays` under their dotted paths."""
    plain = {}
    for name, value in tree.items():
        if isinstance(value, np.ndarray):
            arrays[prefix + name] = value
        elif isinstance(value, dict):
            plain[name] = split_arrays(value, f"{prefix}{name}.", arrays)
        else:
            plain[name] = value
    return plain


def join_arrays(tree: dict[str, Any], arrays: Mapping[str, Numbers]) -> None:
    """Put arrays back to their dotted paths in the tree."""
    for path, array in arrays.items():
        *parents, name = path.split(".")
        branch = tree
        for parent in parents:
            branch = branch[parent]
        branch[name] = array


def effects_from(tree: Mapping[str, Any]) -> Effects:
    return Effects(
        keys=SeriesKeys(**tree["keys"]),
        level=LevelEffects(**tree["level"]),
        calendar=CalendarEffects(**tree["calendar"]),
        regressors=RegressorEffects(**tree["regressors"]),
        overdispersion=tree["overdispersion"],
        growth=tree["growth"],
    )

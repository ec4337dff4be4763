"""Every public call with arguments that work, and which bad values it takes for a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import metagrad as mg
from metagrad import data, measures, optimizers, testing, training, xp
from metagrad.system import begin
from metagrad.training import Recipe, Trainer

Reasons = dict[str, str]  # of a bad value: why it is taken
TASK = mg.Quadratic(np.diag([1.0, 0.5]), np.ones(2))
TUNED = mg.FunctionTask(lambda w, theta: np.sum((w - theta) ** 2, axis=-1), np.ones((1, 2)), theta=np.array(0.5))
RULE = mg.GradientDescent()
PHI = mg.GradientDescent.Phi(0.1)
FINAL = mg.Final()
RECIPE = Recipe(episodes=1, horizon=2, window=2, evaluate_every=1, evaluation_steps=2)

NUMBER = {"2.5": "a number in the range"}
ANY_NUMBER = NUMBER | {"-1": "any finite number"}
NONE = {"None": "the default"}
FLOATING = dict.fromkeys(("2.5", "nan", "inf", "array"), "floats of any kind are numbers, inf and NaN too")
EMPTY = {"[]": "nothing is asked for"}
SAID = dict.fromkeys(("a class", "a text", "-1", "2.5", "nan", "inf", "[]", "array", "object"), "said in the report")
PATH = {"a text": "the name of a file"}


@dataclass(frozen=True)
class Door:
    """A call, what it works with, and under which other names its errors may speak of an argument.

    `takes`: for an argument, the bad values that it takes, each with the reason. `also`: arguments
    that come as keywords.
    """

    call: Callable[..., Any]
    works: dict[str, Any] = field(default_factory=dict)
    takes: dict[str, Reasons] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    also: tuple[str, ...] = ()  # arguments that come as keywords of any name


def tasks(seed: int) -> Any:
    """Return the task of a seed."""
    return mg.random_quadratics(2, 2, seed)


def images() -> dict[str, Any]:
    """Return arguments of ImageData."""
    x, y = np.zeros((4, 6), dtype=np.float32), np.array([0, 1, 0, 1])
    return {"train_x": x, "train_y": y, "test_x": x, "test_y": y, "name": "none", "classes": 2, "shape": (2, 3)}


CHARACTERS = data.Characters(np.zeros((3, 4, 2, 2), dtype=np.float32), ("A", "A", "B"))


def episodes() -> dict[str, Any]:
    """Return arguments of Episodes."""
    x, y = np.zeros((1, 4, 6)), np.array([[0, 1, 0, 1]])
    return {"support_x": x, "support_y": y, "query_x": x, "query_y": y, "ways": 2}


ETA = {"phi": ("phi", "eta")}
CALLED = {"task": TASK, "rule": RULE, "objective": FINAL, "phi": 0.1, "steps": 2}
WHEN = {"at": NONE, "run": NONE, "device": NONE}
OPTIONS = ("gradient", "scaling", "per_task", "memory", "fused", "diverged", "record")


def estimator(call: Callable[..., Any]) -> Door:
    """Return the door of an estimator's own call, with phi as the rule has it."""
    return Door(call, {**CALLED, "phi": PHI}, {"at": NONE, "run": NONE, "phi": NUMBER}, ETA)


def wrapper(call: Callable[..., Any], takes: dict[str, Reasons] | None = None, **works: Any) -> Door:
    """Return the door of a rule around another."""
    return Door(call, {"rule": RULE, **works}, takes or {})


def train(**arguments: Any) -> Any:
    """Return what a Trainer of these arguments makes of a step size."""
    return Trainer(**{"optimizer": RULE, "tasks": tasks, "objective": FINAL, "recipe": RECIPE} | arguments).run(0.1)


def meta_train(**arguments: Any) -> Any:
    """Return what a MetaTrainer of these arguments makes of a step size."""
    given = {"task": TASK, "optimizer": RULE, "objective": FINAL, "steps": 2} | arguments
    return mg.MetaTrainer(**given).run(0.1, 1)


def plot_runs(**arguments: Any) -> Any:
    """Return the axes of the plot of a run in the working folder."""
    Trainer(RULE, tasks, FINAL, RECIPE).run(0.1, metrics="m.jsonl")
    return training.plot_runs(**{"runs": "m.jsonl"} | arguments)


def phi_of(name: str) -> Door:
    """Return the door to the meta-parameters of a rule, through a run of it."""
    rule = getattr(optimizers, name)()
    fields = dict.fromkeys(rule.Phi._fields, 0.5)

    def call(**phi: Any) -> Any:
        return mg.meta_gradient(TASK, rule, FINAL, rule.Phi(**phi), steps=2)

    in_range = {one: NUMBER for one in fields if one in ("eta", "eps", "decay")}
    return Door(call, fields, in_range, also=tuple(fields))


def phi_in_chain(name: str) -> Door:
    """Return the door to the meta-parameters of a transformation, through a run behind it."""
    part = getattr(optimizers, name)()
    rule = mg.Chain(part, rule=RULE)
    fields = dict.fromkeys(part.Phi._fields, 0.5)

    def call(**phi: Any) -> Any:
        return mg.meta_gradient(TASK, rule, FINAL, rule.Phi(eta=0.1, **phi), steps=2)

    return Door(call, fields, dict.fromkeys(fields, NUMBER), also=tuple(fields))


def phi_of_schedule(name: str) -> Door:
    """Return the door to the parameters of a schedule, through a run along it."""
    schedule = getattr(optimizers, name)()
    rule = mg.Following(RULE, eta=schedule)
    fields = dict.fromkeys(schedule.Phi._fields, 0.5)

    def call(**phi: Any) -> Any:
        return mg.meta_gradient(TASK, rule, FINAL, rule.Phi(**{f"eta_{k}": x for k, x in phi.items()}), steps=2)

    return Door(call, fields, dict.fromkeys(fields, NUMBER), {n: (n, "eta") for n in fields}, also=tuple(fields))


def matches(**arguments: Any) -> Any:
    """Return what the comparison finds, numbers that are others among it: what is asked for is all that counts here."""
    try:
        return testing.assert_meta_gradient_matches(**arguments)
    except AssertionError as found:
        return found


def loaded(**arguments: Any) -> Any:
    """Return a stepper that goes on from a file."""
    stepper = mg.Stepper(RULE, PHI)
    stepper.save("loop.npz")
    return stepper.load(**{"path": "loop.npz", "params": np.ones(2)} | arguments)


LIKE = np.ones((2, 3, 4))
LIKE_PARAMS = {"array": "an array of the parameters' shape"}
FILES = {name: place.split(".")[0] for name, place in optimizers._PLACES.items()}
HAND = [name for name, folder in FILES.items() if folder == "hand"]
CLIPS = [name for name, folder in FILES.items() if folder == "transforms"]
LSTM = mg.CoordinatewiseLSTM(hidden=(2,))
META_RUN = mg.MetaTrainer(TASK, RULE, FINAL, 2).run(0.1, 1)
WEIGHTS = LSTM.init_meta(np.random.default_rng(0))

DOORS: dict[str, Door] = {
    "meta_gradient": Door(mg.meta_gradient, CALLED, WHEN | {"phi": NUMBER}, ETA, also=OPTIONS),
    "value": Door(mg.value, CALLED, WHEN | {"phi": NUMBER}, ETA, also=("scaling", "per_task")),
    "check": Door(mg.check, {"task": TASK, "rule": RULE, "phi": PHI}, {"phi": SAID}, ETA),
    "diagnose": Door(mg.diagnose, CALLED | {"steps": 4}, {"dtype": NONE, "windows": NONE | EMPTY, "phi": NUMBER}, ETA),
    "rollout": Door(
        mg.rollout,
        {"task": TASK, "rule": RULE, "phi": 0.1, "steps": 2},
        {"at": NONE, "run": NONE, "measure": NONE, "phi": NUMBER},
        ETA,
    ),
    "Reverse": Door(mg.Reverse),
    "Forward": Door(mg.Forward),
    "Windows": Door(mg.Windows, {"window": 2}),
    "ClosedForm": Door(mg.ClosedForm),
    "Value": Door(mg.Value),
    "Implicit": Door(mg.Implicit, takes=dict.fromkeys(("tolerance", "stationary", "step"), NONE)),
    "Reptile": Door(mg.Reptile, {}, {"step_size": NUMBER}),
    "Reverse()": estimator(mg.Reverse()),
    "Forward()": estimator(mg.Forward()),
    "Windows()": estimator(mg.Windows(1)),
    "ClosedForm()": estimator(mg.ClosedForm()),
    "ClosedForm.hessian": Door(mg.ClosedForm().hessian, {**CALLED, "phi": PHI}, {"phi": NUMBER}, ETA),
    "Value()": estimator(mg.Value()),
    "Implicit()": Door(
        mg.Implicit(), {**CALLED, "task": TUNED, "phi": mg.Joint(PHI, np.array(0.5))}, {"at": NONE, "run": NONE}, ETA
    ),
    "Reptile()": Door(
        mg.Reptile(),
        {**CALLED, "task": mg.LearnedStart(TASK), "phi": mg.Joint(PHI, mg.LearnedStart(TASK).first())},
        {"at": NONE, "run": NONE},
        ETA,
    ),
    "Final": Door(mg.Final),
    "LogFinal": Door(mg.LogFinal),
    "Mean": Door(mg.Mean),
    "MeanLog": Door(mg.MeanLog),
    "WeightedSum": Door(mg.WeightedSum, {}, {"rho": NUMBER}),
    "LogExcess": Door(mg.LogExcess, {}, {"floor": NONE | NUMBER}),
    "as_measure": Door(measures.as_measure, {"where": "as_measure", "measure": "loss"}),
    "RMSprop": Door(mg.RMSprop),
    "CoordinatewiseLSTM": Door(mg.CoordinatewiseLSTM, {}, {"preprocessing": NONE | NUMBER, "scale": ANY_NUMBER}),
    "CoordinatewiseLSTM.paper": Door(mg.CoordinatewiseLSTM.paper),
    "CoordinatewiseLSTM.dm": Door(mg.CoordinatewiseLSTM.dm),
    "CoordinatewiseLSTM.quadratic": Door(mg.CoordinatewiseLSTM.quadratic),
    "CoordinatewiseLSTM.init_meta": Door(LSTM.init_meta, {"rng": np.random.default_rng(0)}),
    "MLP31": Door(mg.MLP31, {}, {"scale": ANY_NUMBER, "exponent_scale": ANY_NUMBER}),
    "MLP31.init_meta": Door(mg.MLP31(2).init_meta, {"rng": np.random.default_rng(0)}),
    "Cosine": Door(mg.Cosine, {}, {"period": NONE}),
    "WarmUp": Door(mg.WarmUp, {"then": mg.Cosine()}),
    "GradientNoise": Door(mg.GradientNoise),
    "Chain": Door(
        lambda transformations, rule: mg.Chain(transformations, rule=rule),
        {"transformations": mg.ClipByNorm(), "rule": RULE},
    ),
    "Following": Door(lambda rule, eta: mg.Following(rule, eta=eta), {"rule": RULE, "eta": mg.Cosine()}),
    "Grouped": Door(
        lambda rules, label: (g := mg.Grouped(rules, label)).init({"a": PHI}, {"x": np.ones((1, 2))}) and g,
        {"rules": {"a": RULE}, "label": {"x": "a"}},
    ),
    "Masked": wrapper(
        lambda rule, mask: (m := mg.Masked(rule, mask)).init(PHI, np.ones((1, 2))) and m,
        mask=np.array([True, False]),
    ),
    "Scheduled": wrapper(mg.Scheduled, {"fields": NONE | {"[]": "no field has a schedule"}}),
    "Stopped": wrapper(
        mg.Stopped, {"radius": NUMBER | {"inf": "it is never stopped"}}, radius=2.0, direction=np.array([0.0, 1.0])
    ),
    "Stopped.at_noise": wrapper(mg.Stopped.at_noise, {"sigma": NUMBER}, sigma=1.0, direction=np.array([0.0, 1.0])),
    "Unconstrained": Door(
        mg.Unconstrained, {"rule": RULE}, {"start": NONE | NUMBER, "fixed": EMPTY}, {"start": ("eta", "phi")}
    ),
    "Unconstrained.init_meta": Door(
        lambda dtype: mg.Unconstrained(RULE, PHI).init_meta(None, dtype), {"dtype": "float32"}
    ),
    "Until": wrapper(mg.Until, {"tolerance": NUMBER}, tolerance=1.0),
    "beside": Door(mg.beside, {"phi": PHI, "leaf": np.ones((1, 2))}, {"leaf": {"array": "an array of w"}}),
    "Descent": Door(mg.Descent, {}, {"scale": NUMBER, "power": ANY_NUMBER}),
    "Through": wrapper(mg.Through, {"clip_norm": NONE | NUMBER, "clip_value": NONE | NUMBER, "steps": NONE}, phi=PHI),
    "Recipe": Door(
        Recipe,
        {"episodes": 1},
        dict.fromkeys(("gradient", "measure", "patience"), NONE)
        | dict.fromkeys(("clip_norm", "clip_value"), NONE | NUMBER),
    ),
    "Trainer": Door(
        train,
        takes={"estimator": NONE},
        names={"outer_phi": ("outer",)},
        also=tuple(Trainer.__dataclass_fields__),
    ),
    "Trainer.run": Door(
        Trainer(RULE, tasks, FINAL, RECIPE).run,
        {"phi": 0.1},
        {"phi": NUMBER, "progress": NONE, "config": NONE, "checkpoint": NONE | PATH, "metrics": NONE | PATH},
        ETA,
    ),
    "Trainer.evaluate": Door(Trainer(RULE, tasks, FINAL, RECIPE).evaluate, {"phi": 0.1}, {"phi": NUMBER}, ETA),
    "Trainer.evaluation_curves": Door(
        Trainer(RULE, tasks, FINAL, RECIPE).evaluation_curves,
        {"phi": 0.1, "count": 1, "steps": 2},
        {"phi": NUMBER, "stream": {"a text": "the name of a stream of random numbers"}},
        ETA,
    ),
    "MetaTrainer": Door(
        meta_train,
        takes={"scale": NUMBER, "power": ANY_NUMBER, "outer": NONE},
        also=tuple(mg.MetaTrainer.__dataclass_fields__),
    ),
    "MetaTrainer.run": Door(
        mg.MetaTrainer(TASK, RULE, FINAL, 2).run,
        {"phi": 0.1, "meta_steps": 1},
        {"phi": NUMBER, "progress": NONE, "checkpoint": NONE | PATH},
        ETA,
    ),
    "minimise": Door(
        mg.minimise,
        {"task": TASK, "rule": RULE, "objective": FINAL, "phi": 0.1, "steps": 2, "most": 1},
        {
            "phi": NUMBER,
            "tolerance": NUMBER,
            "held": EMPTY,
            "estimator": NONE,
            "logarithm": NONE,
            "checkpoint": NONE | PATH,
            "progress": NONE,
        },
        ETA,
    ),
    "MetaRun.named": Door(META_RUN.named),
    "MetaRun.to_csv": Door(META_RUN.to_csv, {"path": "run.csv"}, {"path": PATH}),
    "MetaRun.plot": Door(META_RUN.plot, {"ax": Figure().subplots()}, {"ax": NONE, "names": NONE | EMPTY}),
    "load_trained": Door(mg.load_trained, {"name": "lstm_quadratics"}, {"make": NONE, "template": NONE}),
    "save_trained": Door(
        mg.save_trained,
        {"path": "weights.npz", "optimizer": RULE, "phi": PHI},
        {"path": PATH, "phi": NUMBER, "config": NONE, "about": NONE},
        ETA,
    ),
    "plot_runs": Door(plot_runs, {"ax": Figure().subplots()}, {"ax": NONE}, also=("runs", "what", "scale", "ax")),
    "read_config": Door(training.read_config),
    "read_metrics": Door(training.read_metrics),
    "setup": Door(
        training.setup,
        {
            "config": {
                "task": {"kind": "quadratics"},
                "optimizer": {"kind": "sgd", "eta": 0.1},
                "training": {"episodes": 1},
            }
        },
        {"folder": NONE | {"a text": "a folder is looked at where a kind names a module"}},
    ),
    "ImageData": Door(data.ImageData, images(), {"name": {"a text": "a name"}}),
    "load_digits8x8": Door(data.load_digits8x8),
    "load_digits5000": Door(data.load_digits5000),
    "load_mnist": Door(data.load_mnist, {"folder": "nowhere"}),
    "load_fashion_mnist": Door(data.load_fashion_mnist, {"folder": "nowhere"}),
    "read_idx": Door(data.read_idx),
    "load_omniglot": Door(data.load_omniglot, {"folder": "nowhere"}),
    "Characters": Door(data.Characters, {"images": CHARACTERS.images, "alphabets": CHARACTERS.alphabets}),
    "Characters.of": Door(CHARACTERS.of, {"alphabets": ["A"]}),
    "split_alphabets": Door(data.split_alphabets, {"characters": CHARACTERS, "test": 1}),
    "Episodes": Door(
        data.Episodes, episodes(), names={part: (part, f"{part[:-1]}y") for part in ("support_x", "query_x")}
    ),
    "draw_episodes": Door(
        data.draw_episodes, {"characters": CHARACTERS, "ways": 2, "shots": 1, "queries": 1, "count": 1}
    ),
    "noisy_labels": Door(data.noisy_labels, {"data": data.ImageData(**images()), "fraction": 0.5}),
    "FixedGradient": Door(mg.FixedGradient, {"g": np.ones((1, 2))}, {"steps": NONE, "g": FLOATING}),
    "Scaled.of": Door(
        mg.Scaled.of, {"x": np.ones(2)}, {"x": FLOATING, "exponent": {"-1": "a power of two"}}, {"x": ("argument 0",)}
    ),
    "Scaled.from_log": Door(
        mg.Scaled.from_log,
        {"sign": np.ones((2, 3, 4)), "log": np.ones((2, 3, 4))},
        {"sign": FLOATING | {"-1": "a sign"}, "log": FLOATING | {"-1": "a logarithm"}},
        {"sign": ("argument 0",), "log": ("argument 1",)},
    ),
    "Scaled.to_float": Door(mg.Scaled.of(np.ones(2)).to_float, {}, {"dtype": NONE}),
    "Stepper": Door(mg.Stepper, {"rule": RULE, "phi": PHI}, {"phi": NUMBER, "steps": NONE}, ETA),
    "Stepper.update": Door(
        lambda params, grads, loss=None: mg.Stepper(RULE, PHI).update(params, grads, loss=loss),
        {"params": LIKE, "grads": LIKE},
        {"params": LIKE_PARAMS, "grads": LIKE_PARAMS, "loss": NONE | ANY_NUMBER},
    ),
    "Stepper.answer": Door(mg.Stepper(RULE, PHI).answer, {"params": LIKE}, {"params": LIKE_PARAMS}),
    "Stepper.save": Door(mg.Stepper(RULE, PHI).save, {"path": "loop.npz"}, {"path": PATH}),
    "Stepper.load": Door(loaded, {}, {"params": LIKE_PARAMS}, also=("path", "params")),
    "assert_meta_gradient_matches": Door(
        matches,
        CALLED,
        {"phi": NUMBER, "against": NONE | ANY_NUMBER, "least": NUMBER},
        ETA,
        also=(*CALLED, "against", "least", "seed", "method", *OPTIONS[:4]),
    ),
    "quadratic": Door(testing.quadratic, {"batch": 1, "d": 2, "seed": 0}),
    "regression": Door(
        testing.regression, {"batch": 1, "n": 4, "d": 2, "seed": 0}, {"sigma": NUMBER}, {"batch": ("count",)}
    ),
    "logistic_regression": Door(testing.logistic_regression, {"batch": 1, "n": 4, "d": 2, "seed": 0}),
    "curvature": Door(testing.curvature, {"task": TASK}),
    "quadratics": Door(testing.quadratics, {}, {"diagonal": NONE}),
    "least_squares": Door(testing.least_squares, {}, {"validation": NONE}),
    "logistic_regressions": Door(testing.logistic_regressions),
    "tasks": Door(testing.tasks),
    "step_sizes": Door(testing.step_sizes, {}, dict.fromkeys(("curvature", "least", "most"), NUMBER)),
    "horizons": Door(testing.horizons),
    "objectives": Door(testing.objectives, {}, {"logarithmic": NONE}),
    "rules": Door(testing.rules, {}, {"curvature": NUMBER}),
    "learned_rules": Door(testing.learned_rules),
    "meta_cases": Door(testing.meta_cases),
    "rng": Door(xp.rng, {"seed": 0}),
    "namespace_for": Door(xp.namespace_for, {"device": "cpu"}),
    "begin": Door(begin, {"task": TASK, "rule": RULE, "phi": PHI}, {"phi": NUMBER}, ETA),
    **{f"{name}.Phi": phi_of(name) for name in HAND},
    **{f"{name}.Phi": phi_in_chain(name) for name in CLIPS},
    **{f"{name}.Phi": phi_of_schedule(name) for name in ("Cosine", "Exponential", "Polynomial")},
}

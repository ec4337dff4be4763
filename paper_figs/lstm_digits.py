"""Learning curves of the trained LSTM and of tuned baselines on networks for real digits."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, MARKERS, new_figure

title = "A learned optimizer on networks for digits"
alt = (
    "Loss over the steps for the trained LSTM and six tuned baselines, a panel a kind of network: the one it was "
    "trained on, and where there are more, one with more units, one with two layers, one with ReLU."
)
_LABELS = {"LSTM": "LSTM, trained"}  # the baselines have their own names
_TICKS = (0.01, 0.1, 1, 10)
_TITLES = {
    "trained": "784-20-10, sigmoid (as trained)",
    "units": "784-40-10, sigmoid",
    "layers": "784-20-20-10, sigmoid",
    "relu": "784-20-10, ReLU",
}


def draw(result: Result) -> Figure:
    """Draw a panel a kind of network, two a row."""
    nets = result.names("mean")
    rows = -(-len(nets) // 2)
    figure, axes = new_figure(rows, min(2, len(nets)), height=0.9 + 2.4 * rows, sharex=True, sharey=True, squeeze=False)
    steps = np.arange(result.arrays["mean"].shape[2])
    for ax, net in zip(axes.flat, nets, strict=False):
        for index, name in enumerate(result.names("mean", 1)):
            mean, width = (result.series(array, net, name) for array in ("mean", "width"))
            look = {"color": COLOURS[index], "linestyle": LINES[index], "linewidth": 2.0 if index == 0 else 1.0}
            ax.plot(steps, mean, **look)
            at = slice(4 + 2 * index, None, 20)
            below = np.minimum(width[at], 0.99 * mean[at])  # on a logarithmic axis
            ax.errorbar(
                steps[at],
                mean[at],
                (below, width[at]),
                fmt=MARKERS[index],
                color=COLOURS[index],
                markerfacecolor="white",
                capsize=2,
                elinewidth=0.9,
                markersize=4,
                label=_LABELS.get(name, name),
            )
        ax.set(title=_TITLES[net], yscale="log", ylim=(0.002, 30))
        ax.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
        ax.minorticks_off()
    for ax in axes.flat[len(nets) :]:
        ax.set_axis_off()
    figure.supxlabel("step $t$", fontsize=9)
    figure.supylabel("loss on fresh minibatches (nats)", fontsize=9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config = result.config
    trained = _TITLES["trained"].removesuffix(" (as trained)")
    parts = [
        f"{_TITLES[net]}: {_compared(result, 'path', net)}, and {_compared(result, 'end', net)}"
        for net in result.names("path")
    ]
    return (
        f"Networks for real digits of MNIST (1,000 that meta-training and step size search, on 4,000 others, never "
        f"saw), minibatches of {config['batch_size']}; means over {config['fresh']} fresh networks with 95 % "
        f"intervals. The LSTM was meta-trained on {trained} for {config['steps']} steps; the baselines' step sizes are "
        f"the best of a grid of 25 on other networks of each kind (for the loss at the end). Mean loss of all steps, "
        f"and of the last {config['last']}, LSTM against the best baseline: {'; '.join(parts)}."
    )


def _compared(result: Result, array: str, net: str) -> str:
    """Return the LSTM's loss against the least one of a baseline."""
    baselines = [result.series(array, net, rule) for rule in result.names(array, 1) if rule != "LSTM"]
    return f"{result.series(array, net, 'LSTM'):.3f} against {min(baselines):.3f}"

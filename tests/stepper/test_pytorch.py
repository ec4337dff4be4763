"""A network in PyTorch and a rule of the project: shared memory, PyTorch's own numbers, and what is refused."""

import numpy as np
import pytest

import metagrad as mg

torch = pytest.importorskip("torch", reason="torch is not installed")
BETAS, EPS, ETA = (0.8, 0.95), 1e-3, 0.05
SAME = {
    "adam": (mg.Adam(), mg.Adam.Phi(ETA, *BETAS, EPS), lambda p: torch.optim.Adam(p, ETA, BETAS, EPS)),
    "momentum": (mg.Momentum(), mg.Momentum.Phi(ETA, 0.6), lambda p: torch.optim.SGD(p, ETA, 0.6)),
    "descent": (mg.GradientDescent(), ETA, lambda p: torch.optim.SGD(p, ETA)),
}


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))


def loss_of(net):
    x = torch.linspace(-1.0, 1.0, 24).reshape(6, 4)
    return torch.mean((net(x) - torch.sin(3 * x[:, :1])) ** 2)


def arrays(net):
    return {name: p.detach().numpy() for name, p in net.named_parameters()}


def slopes(net):
    net.zero_grad()
    loss = loss_of(net)
    loss.backward()
    return {name: p.grad.numpy() for name, p in net.named_parameters()}, loss


@pytest.mark.parametrize("name", SAME)
def test_the_parameters_of_pytorchs_own_optimizer(name):
    rule, phi, make = SAME[name]
    ours, theirs = network(), network()
    stepper, optimizer, params = mg.Stepper(rule, phi), make(theirs.parameters()), arrays(ours)
    for _ in range(20):
        grads, loss = slopes(ours)
        for key, new in stepper.update(params, grads, loss=loss).items():
            params[key][...] = new
        slopes(theirs)
        optimizer.step()
    before = arrays(network())
    for key, there in arrays(theirs).items():
        np.testing.assert_allclose(params[key], there, rtol=2e-5, atol=2e-6)
        assert not np.array_equal(there, before[key])
        assert np.shares_memory(params[key], arrays(ours)[key])


def test_a_trained_optimizer_lowers_the_loss():
    net = network()
    stepper, params = mg.Stepper(mg.load_trained("lstm_digits")), arrays(net)
    start = loss_of(net).item()
    for _ in range(15):
        for key, new in stepper.update(params, slopes(net)[0]).items():
            params[key][...] = new
    assert loss_of(net).item() < 0.6 * start


def test_tensors_themselves_are_refused():
    net = network()
    grads, _ = slopes(net)
    with pytest.raises(TypeError, match=r"params\['0\.bias'\] is .*; expected .*tensor\.detach\(\)\.numpy\(\)"):
        mg.Stepper(mg.GradientDescent(), 0.1).update(dict(net.named_parameters()), grads)
    with pytest.raises(TypeError, match=r"grads\['0\.bias'\] is .*tensor\.detach\(\)\.numpy\(\)"):
        mg.Stepper(mg.GradientDescent(), 0.1).update(arrays(net), {k: torch.zeros(1) for k in grads})
    with pytest.raises(TypeError, match=r"params is .*bfloat16|tensor\.detach"):
        mg.Stepper(mg.GradientDescent(), 0.1).update(torch.ones(2, dtype=torch.bfloat16), np.ones(2))


def test_a_loss_of_many_samples_is_refused():
    net = network()
    grads, _ = slopes(net)
    with pytest.raises(TypeError, match=r"loss is an array of shape \(6,\); .*There is no task axis"):
        mg.Stepper(mg.GradientDescent(), 0.1).update(arrays(net), grads, loss=torch.zeros(6))
    with pytest.raises(ValueError, match="loss is nan"):
        mg.Stepper(mg.GradientDescent(), 0.1).update(arrays(net), grads, loss=torch.tensor(float("nan")))

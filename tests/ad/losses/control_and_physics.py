"""Dynamics, mechanics and control."""

import numpy as np
import scipy.linalg as sla

from tests.ad.losses.registry import loss

rng = np.random.default_rng(10)
A = np.array([[1.0, 0.1], [-0.2, 0.95]])
B = np.array([[0.0], [0.1]])
measured = rng.normal(size=8)


@loss(np.array([0.5, -0.3]))
def linear_regulator(K):
    x, cost = np.array([1.0, -0.5]), 0.0
    for _ in range(10):
        u = -K @ x
        cost += x @ x + 0.1 * u**2
        x = A @ x + B[:, 0] * u
    return cost


@loss(np.array([0.2, -0.4]))
def riccati_iteration(w):
    Q, R, P = np.diag(np.exp(w)), np.eye(1), np.eye(2)
    for _ in range(5):
        K = np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
        P = Q + A.T @ P @ (A - B @ K)
    return np.trace(P)


@loss({"mass": 1.2, "damping": 0.3, "theta0": 0.5})
def pendulum_by_euler(p):
    theta, omega, total = p["theta0"], 0.0, 0.0
    for value in measured:
        omega = omega + 0.1 * (-9.81 * np.sin(theta) - p["damping"] / p["mass"] * omega)
        theta = theta + 0.1 * omega
        total = total + (theta - value) ** 2
    return total


@loss(np.array([0.8, 0.5, 0.6, 0.4]))
def predator_and_prey_by_runge_kutta(w):
    def f(s):
        return np.stack([w[0] * s[0] - w[1] * s[0] * s[1], w[2] * s[0] * s[1] - w[3] * s[1]])

    s, h = np.array([1.0, 0.8]), 0.2
    for _ in range(5):
        k1 = f(s)
        k2 = f(s + h / 2 * k1)
        k3 = f(s + h / 2 * k2)
        k4 = f(s + h * k3)
        s = s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return np.sum((s - np.array([1.1, 0.7])) ** 2)


@loss((rng.normal(size=(4, 2)), np.array([0.1, 0.2, -0.1, 0.3])))
def bodies_that_attract(params):
    position, log_mass = params
    i, j = np.triu_indices(4, k=1)
    d = position[i] - position[j]
    r = np.hypot(d[:, 0], d[:, 1])
    return -np.sum(np.exp(log_mass[i] + log_mass[j]) / np.sqrt(r**2 + 0.1))


@loss(rng.normal(size=(5, 2)))
def bearings(z):
    angle = np.arctan2(z[:, 1], z[:, 0])
    return np.sum((angle - 0.3) ** 2 + 1 - np.cos(angle - measured[:5]))


@loss(rng.normal(size=5))
def angles_modulo_a_turn(w):
    gap = (w - measured[:5] + np.pi) % (2 * np.pi) - np.pi
    return np.mean(gap**2)


@loss(rng.normal(size=6))
def arm_of_several_joints(w):
    angle = np.cumsum(w)
    x, y = np.cos(angle).sum(), np.sin(angle).sum()
    return (x - 2.0) ** 2 + (y - 1.0) ** 2 + 0.01 * np.sum(w**2)


@loss(rng.uniform(0.2, 0.8, size=(5, 5)))
def reaction_and_diffusion(u):
    for _ in range(3):
        laplacian = sum(np.roll(u, s, axis=a) for s in (-1, 1) for a in (0, 1)) - 4 * u
        u = u + 0.05 * laplacian + 0.1 * u * (1 - u) * (u - 0.3)
    return np.sum((u - 0.5) ** 2)


@loss(rng.normal(size=6))
def heat_equation_implicitly(log_k):
    k = np.exp(log_k)
    L = np.diag(k[:-1] + k[1:]) - np.diag(k[1:-1], 1) - np.diag(k[1:-1], -1)
    u = np.sin(np.linspace(0, 3, 5))
    for _ in range(3):
        u = np.linalg.solve(np.eye(5) + 0.1 * L, u)
    return np.sum((u - measured[:5]) ** 2)


@loss(np.array([0.9, -0.3, 0.4, 0.2]))
def rotation_by_a_quaternion(q):
    w, x, y, z = q / np.linalg.norm(q)
    R = np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)]),
            np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)]),
            np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]),
        ]
    )
    return np.sum((R @ np.array([1.0, 2.0, 3.0]) - np.array([3.0, 1.0, 2.0])) ** 2)


@loss((rng.normal(size=(3, 3)), rng.normal(size=(3, 3))))
def torque(params):
    return np.sum(np.cross(params[0], params[1]) ** 2)


@loss(rng.normal(size=(3, 3)))
def springs(z):
    gaps = np.linalg.norm(z[[0, 1, 2]] - z[[1, 2, 0]], axis=1)
    return 0.5 * np.sum((gaps - 1.0) ** 2) + 9.81 * z[:, 2].sum()


@loss(rng.normal(size=(4, 3)) * 2)
def lennard_jones(z):
    d2 = np.sum((z[:, None] - z[None]) ** 2, axis=-1)[np.triu_indices(4, 1)]
    s6 = (1.0 / (d2 + 0.3)) ** 3
    return 4 * np.sum(s6**2 - s6)


@loss(rng.normal(size=(4, 2)))
def vehicle(controls):
    x, y, heading, speed = 0.0, 0.0, 0.0, 1.0
    cost = 0.0
    for acceleration, steering in controls:
        speed = speed + 0.2 * acceleration
        heading = heading + 0.2 * speed * np.tan(0.3 * np.tanh(steering))
        x, y = x + 0.2 * speed * np.cos(heading), y + 0.2 * speed * np.sin(heading)
        cost = cost + 0.01 * (acceleration**2 + steering**2)
    return cost + (x - 1.0) ** 2 + (y - 0.5) ** 2


@loss(np.array([0.3, -0.2, 0.5, 0.1]))
def lyapunov_equation(w):
    F = 0.3 * w.reshape(2, 2)
    P = np.linalg.solve(np.eye(4) - np.kron(F, F), np.eye(2).ravel()).reshape(2, 2)
    return np.trace(P)


@loss(np.array([0.3, 0.8]))
def great_circles(w):
    lat, lon = np.radians(np.array([40.0, 52.0])), np.deg2rad(np.array([-3.0, 13.0]))
    a = np.sin((lat - w[0]) / 2) ** 2 + np.cos(lat) * np.cos(w[0]) * np.sin((lon - w[1]) / 2) ** 2
    return np.sum(2 * 6371.0 * np.arcsin(np.sqrt(a))) / 1e4


@loss(rng.normal(size=3), r"solve_banded.*np\.linalg\.solve")
def tridiagonal_system(w):
    band = np.stack([0.1 * np.ones(5), 2 + np.cosh(w[0]) * np.ones(5), np.tanh(w[1]) * np.ones(5)])
    return np.sum(sla.solve_banded((1, 1), band, measured[:5] * w[2]) ** 2)


@loss(rng.normal(size=(2, 4)))
def rollout_for_each_task(policy):
    x, cost = np.ones((2, 2)), np.zeros(2)
    for i in range(4):
        x = x @ A.T + policy[:, i : i + 1] * B[:, 0]
        cost = cost + np.sum(x**2, axis=1) + 0.1 * policy[:, i] ** 2
    return cost

"""What would be wrong with the implicit gradient and what is said of it."""


def corruptions(config, arrays):
    def changed(name, where, by):
        x = arrays[name].copy()
        x[where] = x[where] * by
        return {name: x}

    def wrong(name, way):  # the engine has an error of its own
        x = arrays[name].copy()
        x[3, 4, way] += 1e-4 * arrays["size_diabetes"][3]
        return {name: x}

    said = arrays["status_diabetes"].copy()
    said[2, 0] = True  # an unconverged case is said to be right
    unsaid = arrays["status_gaussian"].copy()
    unsaid[5, -1] = False
    late = {f"theory_{name}": arrays[f"theory_{name}"].copy() for name in ("gaussian", "diabetes")}
    for x in late.values():
        x[:, -1, 0] = x[:, -1, 1] * 2  # no factor of t at the last horizon
    found = {
        "unrolled": wrong("engine_diabetes", 0),
        "implicit": wrong("engine_diabetes", 1),
        "bound": changed("bound_theory_gaussian", (0, 2), 1e-4),
        "note": changed("note_diabetes", (slice(None), 2), 0.5),
        "status": {"status_diabetes": said},
        "settled": {"status_gaussian": unsaid},
        "solvers": changed("cg_diabetes", (1, 4), 1.1),
        "memory": changed("peak", (-1, 1), 2.0),
        "memory_unrolled": changed("peak", (-1, 0), 0.2),
    }
    for name in ("gaussian", "diabetes"):
        found |= {
            f"nearer_{name}": {f"theory_{name}": late[f"theory_{name}"]},
            f"grows_{name}": {f"theory_{name}": late[f"theory_{name}"]},
            f"slack_{name}": changed(f"bound_theory_{name}", (slice(None), -1), 1e3),
            f"products_{name}": changed(f"needed_{name}", (slice(None), 1), 0.01 if name == "diabetes" else 0.2),
        }
    return found

"""Optimizers that learn nothing, that do not fit the noise, and that classify apart with many samples."""


def corruptions(config, arrays):
    exchanged = {}
    for curve, key in enumerate(("few_train", "few_test")):  # the two ways, one for the other
        learned = arrays["learned"].copy()
        learned[0, :, :, curve] = learned[0, ::-1, :, curve]
        exchanged[key] = {"learned": learned}
    idle = arrays["learned"].copy()
    idle[1, 0, :, 0, 1:] = 1.01 * idle[1, 0, :, 0, :1]  # the training loss of those meta-trained for it
    apart = arrays["learned"].copy()
    apart[1, 0, :, 3] -= 0.08
    return {"learns": {"learned": idle}, **exchanged, "many_accuracy": {"learned": apart}}

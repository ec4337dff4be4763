"""A rule with its meta-parameters, stepped in a training loop of one's own.

| file      | what it has                                                               |
|-----------|---------------------------------------------------------------------------|
| `stepper` | `Stepper`                                                                 |
| `layout`  | what the parameters of a loop are, with a task axis and without           |
| `known`   | the task that a loop is to a rule: one gradient and one loss, at one place |
| `store`   | the state of a loop, on disk                                              |
"""

from metagrad.stepper.stepper import Stepper

__all__ = ["Stepper"]

"""The arithmetic that all of the theory shares; it imports nothing else of the theory.

| file           | what it implements                                                                        |
|----------------|-------------------------------------------------------------------------------------------|
| `signed_log`   | `SignedLog`: x = sign exp(log), sums and products of any magnitude                        |
| `modes`        | `Factors`, `Modes`: a_i = 1 - eta lambda_i, mu = max_i abs(a_i), (abs(a_i)/mu)^n          |
| `filters`      | `spectral_filter`: h_t(s) = (1 - (1 - eta s)^t)/s, and its eta-derivative                 |
| `linear_power` | `apply_powers`: M(eta)^t v and its eta-derivative, at any horizon and magnitude           |
| `exact_rank`   | `exact_rank`: the rank of a matrix of floats as it stands, without rounding               |
| `checks`       | what comes into the theory is finite, of the right shape and kind                         |
"""

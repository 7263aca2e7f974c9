"""The transaction: one order on one package, forwards or back, and its recovery after a crash.

`engine.upgrade` takes the steps of `checks`, `staging`, `draining` and `switching` one after the other; `rollback`
leads back to the version before; `uninstall` removes a client; `recovery` finishes or undoes what a crash cut off;
`outcome` ends each of them. `attempt` has what is fixed for an order, `plan` the values that steps hand on.
"""

"""Calls to the people who asked to be told when a photo has ended. `handlers.processes.webhook_dispatcher`
is the process that makes them.

The bucket knows what is to be called and how often it was tried (`ledger`), so no crash
loses a call and none is made again after its success was written down. An address is
foreign input: `shared.callback_guard` says where a call may go.
"""

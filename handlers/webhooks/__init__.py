"""Webhooks: signed calls to the URL that an upload's sender named, once it has ended.

`handlers.processes.webhook_dispatcher` is the process that sends them. The bucket knows
what is due and how often it was attempted (`call_log`), so no crash loses a webhook and
none is sent again after its success was written down. A URL is foreign input:
`shared.callback_guard` decides where a call may go.
"""

"""The pages. Each module has a list ROUTES; what is on a page is asked of operations as the person who looks at it."""

from backfleet.endpoints.console.pages import events, explorer, fleet, logging_in

ROUTES = [*logging_in.ROUTES, *events.ROUTES, *fleet.ROUTES, *explorer.ROUTES]

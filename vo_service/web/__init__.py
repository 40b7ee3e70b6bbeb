"""HTTP: endpoints parse, ask a service, answer."""

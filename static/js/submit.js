// The submit page.

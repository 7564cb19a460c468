//! Terminal pane (to be replaced by the page of one container).

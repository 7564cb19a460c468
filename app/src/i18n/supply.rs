//! Texts of templates, create, sources, tasks and trash.

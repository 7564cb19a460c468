//! Values that follow others. Leptos makes a copy of its code for each closure that it is given; these box the closure
//! first, so that there is one per type of value: some kilobytes less for a browser to load.

use leptos::prelude::*;

/// A value that is worked out again when what it reads changes, and tells of it when it is another one.
pub fn memo<T: PartialEq + Send + Sync + 'static>(of: impl Fn() -> T + Send + Sync + 'static) -> Memo<T> {
    boxed_memo(Box::new(of))
}

fn boxed_memo<T: PartialEq + Send + Sync + 'static>(of: Box<dyn Fn() -> T + Send + Sync>) -> Memo<T> {
    Memo::new(move |_| of())
}

/// A value that is worked out at every look.
pub fn derived<T: Send + Sync + 'static>(of: impl Fn() -> T + Send + Sync + 'static) -> Signal<T> {
    boxed_signal(Box::new(of))
}

fn boxed_signal<T: Send + Sync + 'static>(of: Box<dyn Fn() -> T + Send + Sync>) -> Signal<T> {
    Signal::derive(of)
}

/// Does something in the browser now and whenever what it reads changes.
pub fn effect(what: impl Fn() + 'static) {
    boxed_effect(Box::new(what));
}

fn boxed_effect(what: Box<dyn Fn()>) {
    Effect::new(move || what());
}

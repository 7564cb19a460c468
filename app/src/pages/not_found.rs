//! An address that leads nowhere. It stands in the same frame and works without script; what is absent and what is not
//! the visitor's to know look the same.

use leptos::prelude::*;
use model::ErrorCode;

use crate::api;
use crate::components::button::{LinkButton, Tone};
use crate::components::page_frame::{Empty, PageFrame};
use crate::format::use_locale;
use crate::i18n::frame::CONTAINERS;
use crate::i18n::upkeep as text;

/// The page.
#[component]
pub fn NotFoundPage() -> impl IntoView {
    let locale = use_locale();
    api::set_status(ErrorCode::NotFound);
    view! {
        <PageFrame title=locale.t(text::NOT_FOUND).to_owned()>
            <Empty title=locale.t(text::NOT_FOUND_HINT)>
                <LinkButton href="/" label=locale.t(text::TO_OVERVIEW) tone=Tone::Primary/>
                <LinkButton href="/containers" label=locale.t(CONTAINERS)/>
            </Empty>
        </PageFrame>
    }
}

//! A panic ends all interaction of a page; this tells the person, with plain DOM calls because nothing else works then.

use leptos::prelude::{document, window};

use crate::i18n::Lang;
use crate::i18n::frame::{RELOAD, SOMETHING_BROKE};

/// Shows the banner on top of the page, once.
pub fn show() {
    if let Some(banner) = banner() {
        // Without a body there is nobody to tell.
        drop(document().body().map(|body| body.prepend_with_node_1(&banner)));
    }
}

fn banner() -> Option<web_sys::Element> {
    let document = document();
    if document.get_element_by_id("crash-banner").is_some() {
        return None;
    }
    let lang = document
        .document_element()
        .and_then(|root| root.get_attribute("lang"))
        .and_then(|tag| Lang::of_tag(&tag))
        .unwrap_or_default();
    let banner = document.create_element("div").ok()?;
    banner.set_id("crash-banner");
    banner.set_class_name("banner banner--danger");
    banner.set_attribute("role", "alert").ok()?;
    let text = document.create_element("span").ok()?;
    text.set_text_content(Some(SOMETHING_BROKE.get(lang)));
    let link = document.create_element("a").ok()?;
    link.set_text_content(Some(RELOAD.get(lang)));
    link.set_attribute("href", &window().location().href().unwrap_or_default()).ok()?;
    banner.append_child(&text).ok()?;
    banner.append_child(&link).ok()?;
    Some(banner)
}

//! What the server tells every page before anything is fetched: who is signed in, language, theme, zone, asset names.
//! It stands as JSON in the head, so that the browser starts from exactly what the server rendered with.
//!
//! Invariant: nothing in it tells a stranger whether an account exists.

use model::access::{Permission, WhoAmI};
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::format::Locale;
use crate::i18n::Lang;
use crate::map::Map;

/// The id of the element that carries it.
pub const ELEMENT_ID: &str = "page-context";
/// Cookies that the browser sets and the server reads: not secrets.
pub const LANGUAGE_COOKIE: &str = "berth_language";
pub const THEME_COOKIE: &str = "berth_theme";
/// Minutes east of UTC as the browser sees them.
pub const ZONE_COOKIE: &str = "berth_zone";

/// Hashed addresses of one build of the browser half.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code {
    pub js: String,
    pub wasm: String,
}

/// Hashed addresses of what a page loads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assets {
    /// By the name of the bundle. A page that runs has its own already.
    #[serde(skip)]
    code: Map<String, Code>,
    pub css: String,
    /// Logical name (`static/terminal.js`) to address, for what is loaded on demand.
    pub files: Map<String, String>,
}

impl Assets {
    /// Addresses out of the build's `manifest.json`; an entry it lacks stays empty.
    #[must_use]
    pub fn from_manifest(manifest: &serde_json::Value) -> Self {
        let address = |value: &serde_json::Value| value.as_str().map(|path| format!("/{path}")).unwrap_or_default();
        let files = manifest.get("files").and_then(serde_json::Value::as_object);
        let at = |value: &serde_json::Value, key: &str| value.get(key).map(address).unwrap_or_default();
        let code = |value: &serde_json::Value| Code {
            js: at(value, "js"),
            wasm: at(value, "wasm"),
        };
        let bundles = manifest.get("bundles").and_then(serde_json::Value::as_object);
        Self {
            code: bundles.into_iter().flatten().map(|(name, value)| (name.clone(), code(value))).collect(),
            css: at(manifest, "css"),
            files: files
                .into_iter()
                .flatten()
                .filter(|(name, _)| name.starts_with("static/"))
                .map(|(name, path)| (name.clone(), address(path)))
                .collect(),
        }
    }

    /// What a page of this bundle runs; empty where the build does not have it.
    #[must_use]
    pub fn code(&self, bundle: Bundle) -> Code {
        self.code.get(bundle.name()).cloned().unwrap_or_default()
    }

    /// The address of a static file; its own name where the build does not know it.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.files.get(&format!("static/{name}")).cloned().unwrap_or_else(|| format!("/static/{name}"))
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageContext {
    pub lang: Lang,
    /// `light` or `dark`; absent = what the system prefers.
    pub theme: Option<String>,
    pub zone_minutes: i32,
    pub now_ms: i64,
    pub who: Option<WhoAmI>,
    pub build: String,
    pub assets: Assets,
    /// What this page runs; a page that runs has it already.
    #[serde(skip)]
    pub code: Code,
}

impl PageContext {
    /// The part that formatting needs.
    #[must_use]
    pub fn locale(&self) -> Locale {
        Locale {
            lang: self.lang,
            zone_minutes: self.zone_minutes,
            now_ms: self.now_ms,
        }
    }

    /// Whether the visitor may do this; the server asks again.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.who.as_ref().is_some_and(|who| who.role.permits(permission))
    }
}

/// The page's context; empty where nothing gave one.
#[must_use]
pub fn use_page() -> PageContext {
    leptos::prelude::use_context::<PageContext>().unwrap_or_default()
}

/// Whether the visitor may do this.
#[must_use]
pub fn use_may(permission: Permission) -> bool {
    use_page().may(permission)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_come_out_of_the_manifest() {
        let manifest = serde_json::json!({"bundles": {"supply": {"js": "pkg/supply.1.js", "wasm": "pkg/s.wasm"}}, "css": "pkg/b.css",
            "files": {"pkg/supply.js": "pkg/supply.1.js", "static/terminal.js": "static/terminal.2.js"}});
        let assets = Assets::from_manifest(&manifest);
        assert_eq!(assets.code(Bundle::Supply).js, "/pkg/supply.1.js");
        assert_eq!(assets.code(Bundle::Overview), super::Code::default());
        assert_eq!(assets.file("terminal.js"), "/static/terminal.2.js");
        assert_eq!(assets.files.len(), 1);
    }
}

//! Which rows of a long list are drawn: those in sight and a few around, with spacers of exact height for the rest.

use leptos::prelude::*;

/// Rows drawn beyond the edges of what is in sight.
const MARGIN: usize = 6;
/// Rows that the server draws, which fill a tall screen.
const FIRST: usize = 40;
/// The height of a row until one was measured: by style/components/_container-table.scss.
const ROW_PX: f64 = 40.0;

/// The drawn part of a list, in rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    pub first: usize,
    pub end: usize,
}

/// What is in sight, from the position of the list and the height of the window.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small positive numbers of rows")]
fn drawn(top_px: f64, view_px: f64, row_px: f64, count: usize) -> Drawn {
    let hidden = ((-top_px).max(0.0) / row_px).floor() as usize;
    let visible = (view_px / row_px).ceil() as usize + 1;
    let first = hidden.saturating_sub(MARGIN).min(count);
    Drawn {
        first,
        end: (hidden + visible + MARGIN).min(count),
    }
}

/// The drawn rows and the height of one, following the scrolling of the page.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub drawn: Memo<Drawn>,
    pub row_px: RwSignal<f64>,
}

/// Follows the scrolling of the page; `body` is the list whose rows are windowed.
#[must_use]
pub fn use_window(body: NodeRef<leptos::html::Tbody>, count: Signal<usize>) -> Window {
    let position = RwSignal::new(None::<(f64, f64)>);
    let row_px = RwSignal::new(ROW_PX);
    let measure = move || {
        let Some(element) = body.get_untracked() else { return };
        let top = element.get_bounding_client_rect().top();
        let view = window().inner_height().ok().and_then(|height| height.as_f64()).unwrap_or(800.0);
        if let Some(height) = height_of_a_row(&element).filter(|height| (row_px.get_untracked() - height).abs() > 0.1) {
            row_px.set(height);
        }
        position.set(Some((top, view)));
    };
    Effect::new(move || {
        let handles = [
            window_event_listener(leptos::ev::scroll, move |_| measure()),
            window_event_listener(leptos::ev::resize, move |_| measure()),
        ];
        on_cleanup(move || handles.into_iter().for_each(|handle| handle.remove()));
        // Also when the list grows or shrinks under the same scroll position.
        count.track();
        measure();
    });
    let drawn = Memo::new(move |_| match position.get() {
        None => Drawn {
            first: 0,
            end: count.get().min(FIRST),
        },
        Some((top, view)) => drawn(top, view, row_px.get(), count.get()),
    });
    Window { drawn, row_px }
}

/// A row as it is drawn: 40 px, or more with larger letters; a card on a phone.
fn height_of_a_row(body: &web_sys::Element) -> Option<f64> {
    let row = body.query_selector("tr:not(.spacer)").ok().flatten()?;
    Some(row.get_bounding_client_rect().height()).filter(|height| *height > 1.0)
}

/// The height that undrawn rows would take, as an attribute of an empty drawing: style attributes are not allowed.
#[component]
pub fn Spacer(#[prop(into)] height_px: Signal<f64>) -> impl IntoView {
    let is_needed = Memo::new(move |_| height_px.get() > 0.0);
    view! {
        <Show when=move || is_needed.get()>
            <tr class="spacer" aria-hidden="true">
                <td colspan="10"><svg width="1" height=move || model::number::fixed(height_px.get(), 0)></svg></td>
            </tr>
        </Show>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_rows_draw_what_is_in_sight() {
        assert_eq!(drawn(200.0, 800.0, 40.0, 1000), Drawn { first: 0, end: 27 });
        let middle = drawn(-20_000.0, 800.0, 40.0, 1000);
        assert_eq!((middle.first, middle.end), (494, 527));
        assert_eq!(drawn(-100_000.0, 800.0, 40.0, 1000), Drawn { first: 1000, end: 1000 });
        assert_eq!(drawn(0.0, 800.0, 40.0, 3), Drawn { first: 0, end: 3 });
    }
}

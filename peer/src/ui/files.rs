//! The files of the page, as they were when the program was built, and what is said with each of them.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};

/// A file by its path, such as `/` or `/tile.js`.
pub fn file(path: &str) -> Option<(&'static str, &'static [u8])> {
    let name = path.strip_prefix('/')?;
    let name = if name.is_empty() { "index.html" } else { name };
    let (name, bytes) = FILES.iter().find(|(known, _)| *known == name)?;
    Some((type_of(name), bytes))
}

/// What holds for every answer: nothing from elsewhere is loaded or run, nothing is kept, nobody puts us into a frame.
pub fn headers(port: u16) -> HeaderMap {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws://127.0.0.1:{port}; \
         img-src 'self' blob: data:; media-src 'self' blob:; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
         form-action 'none'"
    );
    let policy = HeaderValue::from_str(&policy).expect("a number and ASCII make a header");
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let permissions = "camera=(self), microphone=(self), display-capture=(self), geolocation=(), usb=()";
    headers.insert(HeaderName::from_static("permissions-policy"), HeaderValue::from_static(permissions));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    headers
}

/// The header that says what a file is.
pub fn content_type(kind: &'static str) -> (HeaderName, HeaderValue) {
    (CONTENT_TYPE, HeaderValue::from_static(kind))
}

fn type_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some(_) | None => "application/octet-stream",
    }
}

static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page_files.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_there_and_nothing_beside_it() {
        assert_eq!(file("/").unwrap().0, "text/html; charset=utf-8");
        assert_eq!(file("/index.html").unwrap(), file("/").unwrap());
        for path in ["", "/../Cargo.toml", "//index.html", "/none.js", "index.html"] {
            assert!(file(path).is_none(), "{path}");
        }
    }
}

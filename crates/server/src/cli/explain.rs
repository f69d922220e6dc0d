//! `tidegate explain`: the page of an error code, which the program carries with it.

use tidegate_model::error::ErrorCode;

use crate::cli::output::Output;
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The code, such as TG-101. Without it: all codes.
    code: Option<String>,
}

include!(concat!(env!("OUT_DIR"), "/error_pages.rs"));

/// The pages of all codes: code and Markdown.
pub(crate) fn pages() -> &'static [(&'static str, &'static str)] {
    PAGES
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut output = Output::new(false);
    match &args.code {
        Some(code) => output.line(page(code)?.trim_end())?,
        None => {
            for code in ErrorCode::ALL {
                let title = page(code.0).unwrap_or_default().lines().next().unwrap_or_default();
                output.line(title.trim_start_matches('#').trim())?;
            }
        }
    }
    output.finish(&[])?;
    Ok(Exit::Done)
}

fn page(code: &str) -> Result<&'static str, Failure> {
    let code = code.to_ascii_uppercase();
    let found = PAGES.iter().find(|(name, _)| *name == code || name.strip_prefix("TG-") == Some(&code));
    found.map(|(_, page)| *page).ok_or_else(|| {
        Failure::usage(ErrorCode::NOT_FOUND, format!("there is no error code {code:?}"))
            .help("`tidegate explain` lists all codes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_that_begins_with_it() {
        for code in ErrorCode::ALL {
            let page = page(code.0).unwrap_or_else(|_| panic!("docs/errors/{code}.md is missing"));
            assert!(page.starts_with(&format!("# {code}: ")), "the page of {code} begins otherwise");
        }
        assert!(page("101").is_ok());
        assert!(page("TG-999").is_err());
    }
}

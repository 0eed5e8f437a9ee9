//! Where snapshots are kept: a folder, or a prefix in a bucket. Names are paths with `/` in both.

use super::bucket::Bucket;
#[cfg(test)]
use super::simulated::{self, Shelf};
use crate::config::Config;
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What has not been given its name yet ends so.
const UNFINISHED: &str = ".tmp";

/// Somewhere to keep named bytes.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Folder(PathBuf),
    /// The bucket, and what all names begin with.
    Bucket(Arc<Bucket>, String),
    /// The same of a simulation.
    #[cfg(test)]
    Simulated(Arc<dyn Shelf>, String),
}

/// What a url says.
enum Address<'a> {
    Folder(&'a Path),
    /// Name and prefix.
    Bucket(&'a str, &'a str),
}

impl<'a> Address<'a> {
    fn of(url: &'a str) -> Result<Self, String> {
        let wrong = |why: &str| {
            Err(format!("`{url}` {why}: the form is a folder, file:///FOLDER or s3://BUCKET/PREFIX"))
        };
        if url.trim().is_empty() {
            return wrong("is empty");
        }
        match scheme(url) {
            None => Ok(Self::Folder(Path::new(url))),
            Some(("s3", rest)) => match rest.strip_prefix("//").map(|r| r.split_once('/').unwrap_or((r, "")))
            {
                Some((bucket, prefix)) if !bucket.is_empty() => {
                    Ok(Self::Bucket(bucket, prefix.trim_matches('/')))
                }
                _ => wrong("names no bucket"),
            },
            Some(("file", rest)) => match rest.strip_prefix("//").filter(|path| path.starts_with('/')) {
                Some(path) => Ok(Self::Folder(Path::new(path))),
                None => wrong("does not go on with /// and the path from the root"),
            },
            Some((scheme, _)) => wrong(&format!("is of a kind that is not known, {scheme}")),
        }
    }
}

/// What a url begins with, before a colon, and the rest; none of a path.
fn scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c));
    is_scheme.then_some((scheme, rest))
}

impl Place {
    /// Where a service keeps its snapshots.
    pub(crate) fn of(config: &Config) -> Result<Self, String> {
        #[cfg(test)]
        if let Some(shelf) = simulated::here() {
            return Ok(Self::Simulated(shelf, String::new()));
        }
        match &config.snapshots.url {
            Some(url) => Self::open(url, config.snapshots.timeout()),
            None => Ok(Self::Folder(config.store.data.join("snapshots"))),
        }
    }

    /// By a path, `file:///FOLDER` or `s3://BUCKET/PREFIX`; `timeout`: of one request.
    pub(crate) fn open(url: &str, timeout: Duration) -> Result<Self, String> {
        match Address::of(url)? {
            Address::Folder(folder) => Ok(Self::Folder(folder.to_owned())),
            Address::Bucket(bucket, prefix) => {
                let bucket = Bucket::open(bucket, timeout).map_err(|why| format!("{url}: {why}"))?;
                Ok(Self::Bucket(Arc::new(bucket), prefix.to_owned()))
            }
        }
    }

    /// What is wrong with a url, if it names no place.
    pub(crate) fn check(url: &str) -> Result<(), String> {
        Address::of(url).map(|_| ())
    }

    /// A place inside this one.
    pub(crate) fn within(&self, name: &str) -> Self {
        match self {
            Self::Folder(folder) => Self::Folder(folder.join(name)),
            Self::Bucket(bucket, prefix) => Self::Bucket(bucket.clone(), joined(prefix, name)),
            #[cfg(test)]
            Self::Simulated(shelf, prefix) => Self::Simulated(shelf.clone(), joined(prefix, name)),
        }
    }

    /// The names of all that is there, in order.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        match self {
            Self::Folder(folder) => walk(folder, "", &mut names)?,
            Self::Bucket(bucket, prefix) => names = bucket.names(prefix)?,
            #[cfg(test)]
            Self::Simulated(shelf, prefix) => names = shelf.names(&format!("{prefix}/"))?,
        }
        names.sort();
        Ok(names)
    }

    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        match self {
            Self::Folder(folder) => fs::read(folder.join(name)),
            Self::Bucket(bucket, prefix) => bucket.read(&joined(prefix, name)),
            #[cfg(test)]
            Self::Simulated(shelf, prefix) => shelf.read(&joined(prefix, name)),
        }
    }

    /// Puts bytes there, in place of what was there by that name.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Self::Folder(folder) => write_file(&folder.join(name), &bytes, |from, to| fs::rename(from, to)),
            Self::Bucket(bucket, prefix) => bucket.put(&joined(prefix, name), bytes, false),
            #[cfg(test)]
            Self::Simulated(shelf, prefix) => shelf.put(&joined(prefix, name), bytes, false),
        }
    }

    /// Puts bytes there if there is nothing by that name.
    ///
    /// # Errors
    /// `AlreadyExists`, and others.
    pub(crate) fn create(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Self::Folder(folder) => write_file(&folder.join(name), &bytes, rename_new),
            Self::Bucket(bucket, prefix) => bucket.put(&joined(prefix, name), bytes, true),
            #[cfg(test)]
            Self::Simulated(shelf, prefix) => shelf.put(&joined(prefix, name), bytes, true),
        }
    }

    /// Removes what is there by that name, if anything is.
    pub(crate) fn delete(&self, name: &str) -> io::Result<()> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                missing_is_fine(fs::remove_file(&path))?;
                // A folder that still holds something stays.
                path.parent().filter(|parent| *parent != folder).map(fs::remove_dir);
                Ok(())
            }
            Self::Bucket(bucket, prefix) => missing_is_fine(bucket.delete(&joined(prefix, name))),
            #[cfg(test)]
            Self::Simulated(shelf, prefix) => missing_is_fine(shelf.delete(&joined(prefix, name))),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Bucket(bucket, prefix) => write!(f, "s3://{}/{prefix}", bucket.name()),
            #[cfg(test)]
            Self::Simulated(_, prefix) => write!(f, "simulated/{prefix}"),
        }
    }
}

fn joined(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") }
}

fn missing_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// The files below a folder; none if there is no folder.
fn walk(folder: &Path, before: &str, names: &mut Vec<String>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = joined(before, &entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => walk(&entry.path(), &name, names)?,
            false => names.push(name),
        }
    }
    Ok(())
}

/// Writes a file so that it is either whole or not there, whatever happens; `name_it` gives it its name.
fn write_file(path: &Path, bytes: &[u8], name_it: impl Fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let mut file = fs::File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    name_it(Path::new(&unfinished), path)?;
    fs::File::open(parent)?.sync_all()?;
    // The folder itself may be new.
    parent.parent().map_or(Ok(()), |above| fs::File::open(above)?.sync_all())
}

/// A rename that replaces nothing.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(from)?;
            Err(error)
        }
        // LIMIT: where there are no hard links, two that write at the same time may both succeed.
        Err(_) if !to.exists() => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_what_is_created_once() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().join("a").display());
        let place = Place::open(&url, Duration::ZERO).unwrap();
        assert_eq!(place.names().unwrap(), [""; 0]);
        let inner = place.within("b");
        inner.create("c/d", vec![1]).unwrap();
        assert_eq!(inner.create("c/d", vec![2]).unwrap_err().kind(), ErrorKind::AlreadyExists);
        inner.put("c/e", vec![3]).unwrap();
        inner.put("c/e", vec![4]).unwrap();
        assert_eq!((inner.read("c/d").unwrap(), place.read("b/c/e").unwrap()), (vec![1], vec![4]));
        assert_eq!(place.names().unwrap(), ["b/c/d", "b/c/e"]);
        inner.delete("c/d").unwrap();
        inner.delete("c/d").unwrap();
        inner.delete("c/e").unwrap();
        assert!(!folder.path().join("a/b/c").exists());
    }

    #[test]
    fn what_names_no_place_is_no_folder_either() {
        for wrong in
            ["", " ", "file:/x", "file:x", "file://x", "s3:", "s3://", "s3:///p", "http://x/y", "S3://a"]
        {
            let why = Place::check(wrong).unwrap_err();
            assert!(why.contains(&format!("`{wrong}`")) && why.contains("s3://BUCKET/PREFIX"), "{why}");
        }
        for right in ["a/b", "/a", "./a:b", "file:///a", "s3://a", "s3://a/b/"] {
            Place::check(right).unwrap();
        }
    }
}

//! The walk along a path.
//!
//! A [`Resolver`] keeps the place it has reached and what is still to be walked: a stack of texts, because a
//! symbolic link's text comes before the rest of the path that it stood in. It stops before the last
//! component ([`Resolver::parent`]), which callers look up in their own way, or goes all the way
//! ([`Resolver::finish`]).
//!
//! Cost per cached component: a permission check, a hash lookup, two reference counts; no allocation for names
//! of up to 40 bytes.

use std::borrow::Cow;
use std::sync::Arc;

use chitin_abi::fs::{MAXSYMLINKS, NAME_MAX, S_ISVTX, S_IWOTH, X_OK};
use chitin_abi::{Errno, Result};
use core::sync::atomic::Ordering;
use smallvec::SmallVec;

use super::{ResolveFlags, Walk};
use crate::dentry::{Cached, Dentry};
use crate::inode::MagicTarget;
use crate::mount::MountFlags;
use crate::path::Path;
use crate::permission;

/// A file name that is being looked at.
pub(super) type Component = SmallVec<[u8; 40]>;

/// What the last component of a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// A name.
    Name(Component),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// The path has none: it was `/`.
    Root,
}

/// Where a path leads but for its last component.
pub(super) struct Parent {
    pub(super) dir: Path,
    pub(super) last: Last,
    /// The last component is followed by slashes.
    pub(super) trailing: bool,
}

struct Segment<'p> {
    text: Cow<'p, [u8]>,
    at: usize,
}

impl Segment<'_> {
    /// Skips slashes; whether there were some.
    fn skip_slashes(&mut self) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| **byte == b'/').count();
        self.at += count;
        count > 0
    }

    fn is_done(&self) -> bool {
        self.at >= self.text.len()
    }

    fn component(&mut self) -> Component {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default();
        self.at += end;
        Component::from_slice(name)
    }
}

/// A walk in progress.
pub(super) struct Resolver<'w, 'a, 'p> {
    walk: &'w Walk<'a>,
    root: Path,
    at: Path,
    links: u32,
    pending: SmallVec<[Segment<'p>; 2]>,
    /// A slash behind the last component: what it names must be a directory.
    must_be_dir: bool,
}

impl<'w, 'a, 'p> Resolver<'w, 'a, 'p> {
    /// A walk that is about to begin.
    pub(super) fn new(walk: &'w Walk<'a>, path: &'p [u8]) -> Result<Self> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        let resolve = walk.resolve;
        let scoped = resolve.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT);
        let root = if scoped { walk.base.clone() } else { walk.root.clone() };
        let absolute = path.first() == Some(&b'/');
        if absolute && resolve.contains(ResolveFlags::BENEATH) {
            return Err(Errno::EXDEV);
        }
        let at = if absolute { root.clone() } else { walk.base.clone() };
        if !at.dentry().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let mut pending = SmallVec::new();
        pending.push(Segment { text: Cow::Borrowed(path), at: 0 });
        Ok(Self { walk, root, at, links: 0, pending, must_be_dir: false })
    }

    /// Walks to the directory of the last component.
    pub(super) fn parent(&mut self) -> Result<Parent> {
        loop {
            let Some(name) = self.next_component()? else {
                return Ok(Parent { dir: self.at.clone(), last: Last::Root, trailing: false });
            };
            permission::check_dentry(self.at.dentry(), X_OK, self.walk.cred, self.walk.env)?;
            let (is_last, trailing) = self.behind();
            if is_last {
                let last = match name.as_slice() {
                    b"." => Last::Dot,
                    b".." => Last::DotDot,
                    _ => Last::Name(name),
                };
                self.must_be_dir |= trailing;
                return Ok(Parent { dir: self.at.clone(), last, trailing: self.must_be_dir });
            }
            let next = self.step(&name)?;
            self.enter(next)?;
        }
    }

    /// Walks all the way. A final symbolic link is followed if `follow` or if a slash is behind it.
    pub(super) fn finish(&mut self, follow: bool) -> Result<Path> {
        loop {
            let parent = self.parent()?;
            let found = self.last(&parent)?;
            if found.dentry().is_symlink() && (follow || self.must_be_dir) {
                if let Some(path) = self.follow(&found, false)? {
                    return self.checked(path);
                }
                continue;
            }
            return self.checked(found);
        }
    }

    /// What the last component names, a symbolic link not followed.
    pub(super) fn last(&mut self, parent: &Parent) -> Result<Path> {
        match &parent.last {
            Last::Name(name) => self.step(name),
            Last::Dot => Ok(parent.dir.clone()),
            Last::DotDot => self.step(b".."),
            Last::Root => Ok(parent.dir.clone()),
        }
    }

    /// Fails unless a slash behind the name is right.
    pub(super) fn checked(&self, path: Path) -> Result<Path> {
        if self.must_be_dir && !path.dentry().is_dir() { Err(Errno::ENOTDIR) } else { Ok(path) }
    }

    /// The next component; `None` at the end.
    fn next_component(&mut self) -> Result<Option<Component>> {
        while let Some(segment) = self.pending.last_mut() {
            segment.skip_slashes();
            if segment.is_done() {
                self.pending.pop();
                continue;
            }
            return Ok(Some(segment.component()));
        }
        Ok(None)
    }

    /// Whether nothing is behind the component that was just taken, and whether slashes are.
    fn behind(&mut self) -> (bool, bool) {
        let Some(segment) = self.pending.last_mut() else { return (true, false) };
        let slashes = segment.skip_slashes();
        if !segment.is_done() {
            return (false, slashes);
        }
        self.pending.pop();
        (self.pending.is_empty(), slashes)
    }

    /// Goes into what a component in the middle of the path names.
    fn enter(&mut self, next: Path) -> Result<()> {
        if next.dentry().is_symlink() {
            if let Some(target) = self.follow(&next, true)? {
                if !target.dentry().is_dir() {
                    return Err(Errno::ENOTDIR);
                }
                self.at = target;
            }
            return Ok(());
        }
        if !next.dentry().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        self.at = next;
        Ok(())
    }

    /// Looks a component up in the directory that has been reached.
    fn step(&self, name: &[u8]) -> Result<Path> {
        match name {
            b"." => Ok(self.at.clone()),
            b".." => self.dot_dot(),
            _ if name.len() > NAME_MAX => Err(Errno::ENAMETOOLONG),
            _ => {
                let dentry = self.child(name)?;
                self.crossed(self.at.with_dentry(dentry))
            }
        }
    }

    fn child(&self, name: &[u8]) -> Result<Arc<Dentry>> {
        let dir = self.at.dentry();
        if !self.walk.resolve.contains(ResolveFlags::CACHED) {
            return dir.lookup(name);
        }
        match dir.cached(name) {
            Cached::Present(child) => Ok(child),
            Cached::Absent => Err(Errno::ENOENT),
            Cached::Unknown => Err(Errno::EAGAIN),
        }
    }

    fn crossed(&self, path: Path) -> Result<Path> {
        if !path.dentry().is_mount_point() {
            return Ok(path);
        }
        let crossed = path.clone().cross_mounts();
        if self.walk.resolve.contains(ResolveFlags::NO_XDEV) && crossed != path {
            return Err(Errno::EXDEV);
        }
        Ok(crossed)
    }

    fn dot_dot(&self) -> Result<Path> {
        let resolve = self.walk.resolve;
        if self.at == self.root {
            let escapes = resolve.contains(ResolveFlags::BENEATH);
            return if escapes { Err(Errno::EXDEV) } else { Ok(self.at.clone()) };
        }
        let up = self.at.parent(&self.root);
        if resolve.contains(ResolveFlags::NO_XDEV) && !Arc::ptr_eq(up.mount(), self.at.mount()) {
            return Err(Errno::EXDEV);
        }
        let scoped = resolve.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT);
        if scoped && !up.is_below(&self.root) {
            return Err(Errno::EAGAIN);
        }
        self.crossed(up)
    }

    /// Follows a symbolic link: its text is walked next, from here, or (`Some`) it leads to a place at once.
    pub(super) fn follow(&mut self, link: &Path, in_middle: bool) -> Result<Option<Path>> {
        self.links += 1;
        if self.links > MAXSYMLINKS
            || self.walk.resolve.contains(ResolveFlags::NO_SYMLINKS)
            || link.mount().flags().contains(MountFlags::NO_SYM_FOLLOW)
        {
            return Err(Errno::ELOOP);
        }
        if !in_middle {
            self.check_protected(link)?;
        }
        crate::rw::touch_path(link, self.walk.env);
        let inode = link.dentry().inode();
        if let Some(target) = inode.follow_magic(self.walk.env)? {
            return self.jump(target).map(Some);
        }
        let text = inode.read_link(self.walk.env)?;
        match text.first() {
            None => return Err(Errno::ENOENT),
            Some(b'/') => self.jump_to_root()?,
            Some(_) => {}
        }
        self.pending.push(Segment { text: Cow::Owned(text), at: 0 });
        Ok(None)
    }

    fn jump_to_root(&mut self) -> Result<()> {
        let resolve = self.walk.resolve;
        if resolve.contains(ResolveFlags::BENEATH) {
            return Err(Errno::EXDEV);
        }
        if resolve.contains(ResolveFlags::NO_XDEV)
            && !Arc::ptr_eq(self.at.mount(), self.root.mount())
        {
            return Err(Errno::EXDEV);
        }
        self.at = self.root.clone();
        Ok(())
    }

    fn jump(&mut self, target: MagicTarget) -> Result<Path> {
        let resolve = self.walk.resolve;
        if resolve.contains(ResolveFlags::NO_MAGICLINKS) {
            return Err(Errno::ELOOP);
        }
        let path = match target {
            MagicTarget::Path(path) => path,
            MagicTarget::File(file) => self.walk.env.shared.path_of(&file),
        };
        if resolve.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT)
            || (resolve.contains(ResolveFlags::NO_XDEV)
                && !Arc::ptr_eq(path.mount(), self.at.mount()))
        {
            return Err(Errno::EXDEV);
        }
        Ok(path)
    }

    /// `fs.protected_symlinks`: links in sticky directories that everybody may write are followed only by
    /// their owner or where they belong to the directory's owner.
    fn check_protected(&self, link: &Path) -> Result<()> {
        if !self.walk.env.shared.sysctls.protected_symlinks.load(Ordering::Relaxed) {
            return Ok(());
        }
        let info = link.dentry().inode().access_info()?;
        let Some(dir) = link.dentry().parent() else { return Ok(()) };
        let dir = dir.inode().access_info()?;
        let open_to_all = dir.mode & (S_ISVTX | S_IWOTH) == S_ISVTX | S_IWOTH;
        if info.uid == self.walk.cred.uid || !open_to_all || dir.uid == info.uid {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }
}

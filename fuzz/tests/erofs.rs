//! Images of file systems.

use chitin_fuzz::fuzz;

/// Structures of an image, by their places.
struct Builder(Vec<u8>);

impl Builder {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn inode(&mut self, number: usize, layout: u16, mode: u16, size: u32, place: u32) {
        let at = 4096 + number * 32;
        self.put(at, &(layout << 1).to_le_bytes());
        self.put(at + 4, &mode.to_le_bytes());
        self.put(at + 6, &1_u16.to_le_bytes());
        self.put(at + 8, &size.to_le_bytes());
        self.put(at + 16, &place.to_le_bytes());
    }
}

/// A root directory with a file of each layout.
fn image() -> Vec<u8> {
    let mut image = Builder(vec![0; 6 * 4096]);
    image.put(1024, &0xe0f5_e1e2_u32.to_le_bytes());
    image.put(1024 + 12, &[12]);
    image.put(1024 + 40, &1_u32.to_le_bytes());
    image.put(1024 + 80, &7_u32.to_le_bytes());
    image.inode(0, 0, 0o040_755, 4096, 2);
    image.inode(4, 0, 0o100_644, 5000, 3);
    image.inode(8, 2, 0o100_644, 20, 3);
    image.inode(12, 4, 0o100_644, 9000, 0);
    image.inode(20, 3, 0o100_644, 20_000, 2);
    image.inode(30, 1, 0o100_644, 20_000, 2);
    image.inode(40, 2, 0o120_777, 4, 0);
    image.put(4096 + 41 * 32, b"text");
    let names = [(b'a', 4), (b'b', 8), (b'c', 12), (b'd', 20), (b'e', 30), (b'f', 40)];
    for (index, (name, inode)) in (0_u8..).zip(names) {
        let (at, place) = (2 * 4096 + usize::from(index) * 12, 72 + index);
        image.put(at, &[inode, 0, 0, 0, 0, 0, 0, 0, place, 0, 1, 0]);
        image.put(2 * 4096 + usize::from(place), &[name]);
    }
    image.0
}

#[test]
fn erofs_images() {
    fuzz(&[image()], chitin_vfs::fs::erofs::fuzz::run);
}

use super::*;
use crate::file::{File, WriteAt};
use crate::io::{SliceSink, SliceSource, VecSink};

fn pair(flags: OpenFlags) -> (Arc<OpenFile>, Arc<OpenFile>) {
    new_pipe(flags, &Cred::root(), Timespec::default())
}

fn end(file: &OpenFile) -> &PipeEnd {
    file.file().as_any().downcast_ref().unwrap()
}

fn write(file: &OpenFile, bytes: &[u8]) -> Result<usize> {
    file.file().write_at(&mut SliceSource::new(bytes), WriteAt::End).map(|(count, _)| count)
}

fn read(file: &OpenFile, count: usize) -> Result<Vec<u8>> {
    let mut sink = VecSink::new(count);
    let done = file.file().read_at(&mut sink, 0)?;
    assert_eq!(done, sink.bytes.len());
    Ok(sink.bytes)
}

#[test]
fn bytes_come_out_as_they_went_in() {
    let (reader, writer) = pair(OpenFlags::empty());
    assert_eq!(read(&reader, 4), Err(Errno::EAGAIN));
    assert_eq!(write(&writer, b"hello "), Ok(6));
    assert_eq!(write(&writer, b"world"), Ok(5));
    assert_eq!(read(&reader, 8), Ok(b"hello wo".to_vec()));
    assert_eq!(read(&reader, 8), Ok(b"rld".to_vec()));
    assert_eq!(read(&reader, 0), Ok(vec![]));
    drop(writer);
    assert_eq!(read(&reader, 8), Ok(vec![]));
}

#[test]
fn a_small_write_is_atomic_and_a_large_one_partial() {
    let (reader, writer) = pair(OpenFlags::empty());
    assert_eq!(write(&writer, &vec![1; DEFAULT_CAPACITY - 100]), Ok(DEFAULT_CAPACITY - 100));
    // The last slot has room for 100 more, but no slot is free.
    assert_eq!(write(&writer, &[2; 101]), Err(Errno::EAGAIN));
    assert_eq!(write(&writer, &[2; 100]), Ok(100));
    assert_eq!(read(&reader, 4096), Ok(vec![1; 4096]));
    assert_eq!(write(&writer, &[3; 10000]), Ok(4096));
    assert!(end(&writer).poll().is_empty());
}

#[test]
fn without_readers_writing_fails_and_zero_bytes_succeed() {
    let (reader, writer) = pair(OpenFlags::empty());
    drop(reader);
    assert_eq!(write(&writer, b"x"), Err(Errno::EPIPE));
    assert_eq!(write(&writer, b""), Ok(0));
    let events = PollEvents::POLLOUT | PollEvents::POLLWRNORM | PollEvents::POLLERR;
    assert_eq!(writer.file().poll(), events);
}

#[test]
fn packets_keep_their_boundaries() {
    let (reader, writer) = pair(OpenFlags::O_DIRECT);
    write(&writer, b"first").unwrap();
    write(&writer, b"second").unwrap();
    assert_eq!(read(&reader, 3), Ok(b"fir".to_vec()));
    assert_eq!(read(&reader, 100), Ok(b"second".to_vec()));
}

#[test]
fn capacity_rounds_and_has_limits() {
    let (_reader, writer) = pair(OpenFlags::empty());
    let pipe = end(&writer).pipe();
    assert_eq!(pipe.capacity(), 65536);
    assert_eq!(pipe.set_capacity(5000, false), Ok(8192));
    assert_eq!(pipe.set_capacity(0, false), Ok(4096));
    assert_eq!(pipe.set_capacity(1 << 21, false), Err(Errno::EPERM));
    assert_eq!(pipe.set_capacity(1 << 21, true), Ok(1 << 21));
    assert_eq!(pipe.set_capacity((1 << 31) + 1, true), Err(Errno::EINVAL));
    write(&writer, &[0; 5000]).unwrap();
    assert_eq!(pipe.set_capacity(4096, true), Err(Errno::EBUSY));
}

#[test]
fn poll_tells_of_data_and_hang_up() {
    let (reader, writer) = pair(OpenFlags::empty());
    assert!(reader.file().poll().is_empty());
    write(&writer, b"x").unwrap();
    drop(writer);
    let events = PollEvents::POLLIN | PollEvents::POLLRDNORM | PollEvents::POLLHUP;
    assert_eq!(reader.file().poll(), events);
}

#[test]
fn a_fifo_waits_for_the_other_side() {
    let slot = FifoSlot::default();
    let nonblocking_writer = OpenFlags::O_WRONLY | OpenFlags::O_NONBLOCK;
    assert_eq!(slot.open(nonblocking_writer).err(), Some(Errno::ENXIO));
    let (reader, wait) = slot.open(OpenFlags::empty()).unwrap();
    let wait = wait.unwrap();
    assert!(!wait.is_over());
    let (writer, none) = slot.open(nonblocking_writer).unwrap();
    assert!(none.is_none() && wait.is_over());
    writer.write_at(&mut SliceSource::new(b"abc"), WriteAt::End).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(reader.read_at(&mut SliceSink::new(&mut buffer), 0), Ok(3));
    assert!(slot.open(OpenFlags::O_RDWR).unwrap().1.is_none());
}

#[test]
fn a_fifo_reader_without_a_writer_is_quiet_until_one_has_gone() {
    let slot = FifoSlot::default();
    let (reader, _) = slot.open(OpenFlags::O_NONBLOCK).unwrap();
    assert!(reader.poll().is_empty());
    drop(slot.open(OpenFlags::O_WRONLY | OpenFlags::O_NONBLOCK).unwrap());
    assert_eq!(reader.poll(), PollEvents::POLLHUP);
}

#[test]
fn splices_move_whole_and_partial_slots() {
    let (first_out, first_in) = pair(OpenFlags::empty());
    let (second_out, second_in) = pair(OpenFlags::empty());
    write(&first_in, b"abcdef").unwrap();
    assert_eq!(transfer(end(&first_out), end(&second_in), 4, true), Ok(4));
    assert_eq!(transfer(end(&first_out), end(&second_in), 2, false), Ok(2));
    assert_eq!(read(&second_out, 10), Ok(b"abcdab".to_vec()));
    assert_eq!(read(&first_out, 10), Ok(b"cdef".to_vec()));
    assert_eq!(transfer(end(&first_out), end(&second_in), 2, false), Err(Errno::EAGAIN));
    assert_eq!(transfer(end(&first_out), end(&first_in), 2, false), Err(Errno::EINVAL));
}

#[test]
fn what_a_batch_does_not_use_goes_back() {
    let (reader, writer) = pair(OpenFlags::empty());
    write(&writer, b"abcdef").unwrap();
    let mut batch = end(&reader).take(4).unwrap();
    assert_eq!(read(&reader, 1), Err(Errno::EAGAIN));
    let mut buffer = [0; 3];
    crate::io::Source::take(&mut batch, &mut buffer).unwrap();
    drop(batch);
    assert_eq!((&buffer, read(&reader, 9)), (b"abc", Ok(b"def".to_vec())));
    let mut room = end(&writer).reserve(100).unwrap();
    crate::io::Sink::put(&mut room, b"xyz").unwrap();
    assert_eq!(read(&reader, 9), Err(Errno::EAGAIN));
    drop(room);
    assert_eq!(read(&reader, 9), Ok(b"xyz".to_vec()));
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Read(usize),
    Resize(u64),
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    use proptest::prelude::{Strategy, prop_oneof};
    let step = prop_oneof![
        (1_usize..20_000).prop_map(Step::Write),
        (1_usize..200).prop_map(Step::Write),
        (1_usize..20_000).prop_map(Step::Read),
        (1_u64..200_000).prop_map(Step::Resize),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest::proptest! {
    /// Whatever is done, bytes come out in order, small writes are whole, and poll tells the truth.
    #[test]
    fn a_pipe_is_a_queue(steps in steps()) {
        let (reader, writer) = pair(OpenFlags::empty());
        let mut model = std::collections::VecDeque::new();
        let mut next = 0_u8;
        for step in steps {
            match step {
                Step::Write(count) => {
                    let bytes: Vec<u8> = (0..count).map(|index| next.wrapping_add(index as u8)).collect();
                    let could = writer.file().poll().contains(PollEvents::POLLOUT);
                    match write(&writer, &bytes) {
                        Ok(done) => {
                            assert!(done == count || count > PIPE_BUF);
                            model.extend(&bytes[..done]);
                            next = next.wrapping_add(done as u8);
                        }
                        Err(errno) => assert!(errno == Errno::EAGAIN && !could),
                    }
                }
                Step::Read(count) => match read(&reader, count) {
                    Ok(bytes) => {
                        assert_eq!(bytes.len(), count.min(model.len()));
                        assert!(bytes.iter().all(|byte| Some(*byte) == model.pop_front()));
                    }
                    Err(errno) => assert!(errno == Errno::EAGAIN && model.is_empty()),
                },
                Step::Resize(bytes) => {
                    let result = end(&writer).pipe().set_capacity(bytes, false);
                    assert!(result.is_ok() || result == Err(Errno::EBUSY) && !model.is_empty());
                }
            }
            assert_eq!(reader.file().poll().contains(PollEvents::POLLIN), !model.is_empty());
            assert!(end(&writer).pipe().capacity() >= model.len());
        }
    }
}

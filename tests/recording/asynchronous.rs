//! The asynchronous functions: opening a device, reading back, and waiting for the end of work.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use thalweg::tensor::{Device, Error, Tensor};

use crate::common::{devices, gpu, own_gpu, tensor};

#[test]
fn a_device_that_is_opened_asynchronously_is_the_shared_one() {
    let open = |choice: &str| pollster::block_on(Device::open_async(choice));
    assert_eq!(open("CPU").unwrap(), Device::cpu());
    assert_eq!(open("auto").unwrap(), Device::best());
    assert!(matches!(open("no such adapter"), Err(Error::NoAdapter { .. })));
    let Some(gpu) = gpu() else { return };
    assert_eq!(open("gpu").unwrap(), gpu);
    assert_eq!(pollster::block_on(Device::gpu_async()).unwrap(), gpu);
}

#[test]
fn a_read_that_is_awaited_gives_the_elements_of_its_moment() {
    for device in devices() {
        let x = tensor(&device, &[1.0, 2.0, 3.0], &[3]);
        let first = x.read_later::<f32>().unwrap();
        x.fill(7f32).unwrap();
        let second = x.read_later::<f32>().unwrap();
        let both = pollster::block_on(async { (second.await.unwrap(), first.await.unwrap()) });
        assert_eq!(both, (vec![7.0; 3], vec![1.0, 2.0, 3.0]), "{device}");
        pollster::block_on(device.synchronize_async()).unwrap();
    }
}

#[test]
fn elements_that_were_given_out_are_not_given_out_again() {
    let mut pending = tensor(&Device::cpu(), &[1.0], &[1]).read_later::<f32>().unwrap();
    assert_eq!(pending.poll().unwrap(), Some(vec![1.0]));
    assert!(matches!(pollster::block_on(async { pending.await }), Err(Error::Taken)));
}

/// Counts its wakes.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Submits work that takes a software driver some time.
fn long_work(device: &Device) -> Tensor {
    let x = Tensor::full(device, 0.5f32, &[512, 512]).unwrap();
    let mut y = x.clone();
    for _ in 0..20 {
        y = y.matmul(&x).unwrap().tanh().unwrap();
    }
    y
}

#[test]
fn a_task_is_woken_once_its_elements_have_arrived_and_blocks_no_thread() {
    let Some(device) = own_gpu() else { return };
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut read = pin!(long_work(&device).read_later::<f32>().unwrap().into_future());
    let mut polls = 0;
    let elements = loop {
        polls += 1;
        match read.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(elements) => break elements.unwrap(),
            Poll::Pending => {
                // Only the library polls the device, so the wake comes from it.
                while woken.0.load(Ordering::SeqCst) < polls {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    };
    assert_eq!(elements.len(), 512 * 512);
    assert!(polls <= 3, "polled {polls} times");
}

#[test]
fn awaiting_a_closed_device_is_an_error() {
    let Some(device) = own_gpu() else { return };
    let pending = long_work(&device).read_later::<f32>().unwrap();
    device.close();
    assert!(matches!(pollster::block_on(async { pending.await }), Err(Error::DeviceLost { .. })));
    assert!(matches!(pollster::block_on(device.synchronize_async()), Err(Error::DeviceLost { .. })));
}

#[test]
fn reads_of_many_tasks_arrive() {
    for device in devices() {
        std::thread::scope(|scope| {
            for i in 0..50u16 {
                let x = tensor(&device, &[f32::from(i); 100], &[100]);
                scope.spawn(move || {
                    let elements = pollster::block_on(async { x.read_later::<f32>()?.await });
                    assert_eq!(elements.unwrap(), [f32::from(i); 100]);
                });
            }
        });
    }
}

"""A network in PyTorch, stepped by a trained optimizer: its tensors share their memory with NumPy's arrays."""

import torch

import metagrad as mg

torch.manual_seed(0)
x = torch.randn(512, 20)
labels = (x[:, :10] @ torch.randn(10, 5)).argmax(dim=1)
net = torch.nn.Sequential(torch.nn.Linear(20, 20), torch.nn.Sigmoid(), torch.nn.Linear(20, 5))

stepper = mg.Stepper(mg.load_trained("lstm_digits"))
params = {name: p.detach().numpy() for name, p in net.named_parameters()}
for step in range(101):
    net.zero_grad()
    loss = torch.nn.functional.cross_entropy(net(x), labels)
    loss.backward()
    grads = {name: p.grad.numpy() for name, p in net.named_parameters()}
    for name, new in stepper.update(params, grads, loss=loss.item()).items():
        params[name][...] = new  # written where the network reads it
    if step % 25 == 0:
        print(f"step {step}: loss {loss.item():.4f}")

// PoolGradient(x, dy): the gradient of MaxPool, which goes to the first maximum of each window, in the layout in which
// x and dy stand. Windows are taken in the order of the output, so overlapping ones add up as in ScatterElements.
#include <stdexcept>

#include "kernels.hpp"
#include "operator.hpp"

namespace onnxplain::operators {
namespace {

class PoolGradient final : public Kernel {
  public:
    explicit PoolGradient(const Attributes& attributes) : kernels_(chosen_kernels()) {
        take(attributes.ints("kernel_shape"), windows_.kernel);
        take(attributes.ints("strides"), windows_.stride);
        take(attributes.ints("dilations"), windows_.dilation);
        take(attributes.ints("top_left"), windows_.top_left);
        const std::vector<std::int64_t> lanes = attributes.ints("lanes"), add = attributes.ints("add");
        if (lanes.size() != 1 || (lanes[0] != 1 && lanes[0] != 8 && lanes[0] != 16) || add.size() != 1) {
            throw std::invalid_argument("PoolGradient takes 1, 8 or 16 lanes, and one value of add");
        }
        lanes_ = static_cast<std::size_t>(lanes[0]);
        windows_.add = add[0] != 0;
    }

    void compute(const Context& context) const override {
        const Tensor x = context.input(0), dy = context.input(1);
        if (x.dims.size() != 4 || dy.dims.size() != 4 || x.dims[0] != dy.dims[0] || x.dims[1] != dy.dims[1] ||
            x.dims[1] % static_cast<std::int64_t>(lanes_) != 0) {
            throw std::invalid_argument("PoolGradient takes [N,C,H,W] twice, with as many channels as blocks hold");
        }
        Windows windows = windows_;
        windows.height = x.dims[2];
        windows.width = x.dims[3];
        windows.pooled_height = dy.dims[2];
        windows.pooled_width = dy.dims[3];
        float* dx = context.output(x.dims);
        const std::size_t planes = static_cast<std::size_t>(x.dims[0] * x.dims[1]) / lanes_;
        const std::size_t large = static_cast<std::size_t>(windows.height * windows.width) * lanes_;
        const std::size_t small = static_cast<std::size_t>(windows.pooled_height * windows.pooled_width) * lanes_;
        context.parallel(planes, [&](std::size_t plane) {
            const std::size_t at = plane * large;
            kernels_.pool_gradient(x.data + at, dy.data + plane * small, dx + at, windows, lanes_);
        });
    }

  private:
    static void take(const std::vector<std::int64_t>& given, std::int64_t (&to)[2]) {
        if (given.size() != 2) {
            throw std::invalid_argument("PoolGradient takes two extents");
        }
        to[0] = given[0];
        to[1] = given[1];
    }

    const Kernels& kernels_;
    Windows windows_;
    std::size_t lanes_ = 1;
};

std::unique_ptr<Kernel> create(const Attributes& attributes) { return std::make_unique<PoolGradient>(attributes); }

}  // namespace

const Definition& pool_gradient() {
    static const Definition definition{"PoolGradient", 2, true, false, create};
    return definition;
}

}  // namespace onnxplain::operators
